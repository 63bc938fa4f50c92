"""All actions by name, and what is to be said of those of the model that are not here."""

from __future__ import annotations

from watcher.api import samples, tasks, templates, workflows
from watcher.api.base import Action

ACTIONS: dict[str, Action] = {
    action.name: action for module in (workflows, tasks, templates, samples) for action in module.ACTIONS
}

LATER = """
    EditMedia DescribeUsageData RecognizeAudio TextTranslation
    DetectVideoSubtitleArea
    CreateSmartSubtitleTemplate ModifySmartSubtitleTemplate DeleteSmartSubtitleTemplate DescribeSmartSubtitleTemplates
    CreateSubtitleEmbedTemplate ModifySubtitleEmbedTemplate DeleteSubtitleEmbedTemplate DescribeSubtitleEmbedTemplates
    CreateProcessImageTemplate ModifyProcessImageTemplate DeleteProcessImageTemplate DescribeProcessImageTemplates
    CreateAsrHotwords ModifyAsrHotwords DeleteAsrHotwords DescribeAsrHotwords DescribeAsrHotwordsList
"""
"""Actions of the model's media family that this version does not have, and a later one may."""
OUT = """
    BatchProcessMedia DescribeBatchTaskDetail ExtractBlindWatermark DetectVideoWatermark EmbeddingData ExecuteFunction
    CreateSmartEraseTemplate ModifySmartEraseTemplate DeleteSmartEraseTemplate DescribeSmartEraseTemplates
    CreateBlindWatermarkTemplate ModifyBlindWatermarkTemplate DeleteBlindWatermarkTemplate
    DescribeBlindWatermarkTemplates
    TextToSpeech TextToSpeechAsync DescribeTextToSpeechAsyncTask SyncDubbing CloneVoice ChangeVoice DesignVoiceAsync
    DescribeDesignTask DescribeVoices UpdateVoice DeleteVoice
"""
"""Those that are out of the scope of this project."""
KNOWN = frozenset((LATER + OUT).split())
