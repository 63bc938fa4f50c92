"""What the options of all brokers have in common."""

from __future__ import annotations

import importlib.util
import ssl
from typing import Annotated

from pydantic import Field, SecretStr

from watcher import plugin
from watcher.plugin import Seconds


class Tls(plugin.Options):
    """TLS of a connection."""

    ca_file: str | None = None
    """Certificates to trust; unset for those of the system."""
    certificate: str | None = None
    """Our own certificate, where the broker asks for one."""
    key: str | None = None
    """The private key of ``certificate``."""

    def context(self) -> ssl.SSLContext:
        """For the libraries."""
        made = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate is not None:
            made.load_cert_chain(self.certificate, self.key)
        return made


class BrokerOptions(plugin.Options):
    """How a broker is reached."""

    host: str
    """The broker."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Unset: the usual one of the protocol."""
    username: str | None = None
    """User name, where the broker asks for one."""
    password: SecretStr | None = None
    """Its password."""
    tls: Tls | None = None
    """Set it (to ``{}`` at least) to use TLS."""
    timeout: Annotated[Seconds, Field(gt=0)] = 10.0
    """How long the broker may take to answer."""

    @property
    def secret(self) -> str | None:
        """The password, for the libraries."""
        return self.password.get_secret_value() if self.password else None

    @property
    def ssl(self) -> ssl.SSLContext | None:
        """TLS, for the libraries; None where it is not used."""
        return self.tls.context() if self.tls is not None else None


def require(module: str, extra: str) -> None:
    """Raise ValueError, with what to install, unless a library is there."""
    if importlib.util.find_spec(module) is None:
        raise ValueError(f"needs {module}: pip install 'watcher[{extra}]'")
