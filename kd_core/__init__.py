"""The distillation engine of KD Lab. It knows nothing of the screen: no module here imports streamlit.

docs/ARCHITECTURE.md draws the packages and how data flows through them; each module opens with what it is for.
"""

import os

# ONNX Runtime looks up its maker's host and leaves a device id in the user's cache folder as soon as it is imported.
# No module of ours, and none of the processes that it starts, imports it before this line.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
