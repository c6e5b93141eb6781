"""``import fieldwave.compat.azureml.install``, a script's first line, provides the legacy names to the rest."""

from fieldwave.compat.legacy import provide

provide()
