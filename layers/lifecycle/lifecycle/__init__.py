"""Archives, restores and deletes resources in Tallyfy, once per intent, and records the reason."""

import gc
import os
import warnings

# requests warns about this when it is imported: the layer has neither of the packages that it looks for, see
# layers/dependencies/trim_sdk.py.
warnings.filterwarnings("ignore", message="Unable to find acceptable character detection dependency")

# In a function, the garbage collector would run 30 times during the imports and free nothing. ``at_start`` in
# ``lifecycle.bootstrap.common`` switches it on again.
if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    gc.disable()

# Pydantic would look for plugins in the metadata of every installed package. None is used, and none may change a check.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
