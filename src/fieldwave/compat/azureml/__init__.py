"""The names that scripts written for the retired service import, over the native rooms.

Nothing here has logic of its own beyond translation. ``fieldwave legacy run SCRIPT``, or as a script's first line
``import fieldwave.compat.azureml.install``, makes them importable as ``azureml``.
"""
