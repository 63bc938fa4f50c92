"""Drives whichever Python SDK is on the path: calls from standard input, a line each; see DrivenClient."""

import json
import sys

from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.mps.v20190612 import models, mps_client

where = json.loads(sys.argv[1])
http = HttpProfile(protocol=where["protocol"], endpoint=where["address"])
client = mps_client.MpsClient(credential.Credential(where["id"], where["key"]), "", ClientProfile(httpProfile=http))
for line in sys.stdin:
    action, body = json.loads(line)
    request = getattr(models, f"{action}Request")()
    request.from_json_string(json.dumps(body))
    try:
        result = [None, json.loads(getattr(client, action)(request).to_json_string())]
    except TencentCloudSDKException as error:
        result = [error.code, error.message]
    print(json.dumps(result), flush=True)
