"""What finishes in Tallyfy is archived, restored or deleted here, once per intent, with a reason."""

import gc
import os
import warnings

# requests says this at its first import: the layer has neither package, see layers/dependencies/trim_sdk.py.
warnings.filterwarnings("ignore", message="Unable to find acceptable character detection dependency")

# In a function, the collector would look 30 times at what the imports make, and find nothing to free. ``at_start`` in
# ``lifecycle.bootstrap.common`` switches it on again.
if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    gc.disable()

# Pydantic would look for plugins in the metadata of every installed package. None is used, and none may change a check.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
