"""What finishes in Tallyfy is archived, restored or deleted here, once per intent, with a reason."""

import gc
import os

# In a function, the collector would look 30 times at what the imports make, and find nothing to free. ``at_start`` in
# ``lifecycle.bootstrap.common`` switches it on again.
if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    gc.disable()
