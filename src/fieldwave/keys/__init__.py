"""The two keys of a service, the folder they are kept in, and the tokens that they sign."""

from fieldwave.keys.folder import read_keys, regenerate_key, write_keys
from fieldwave.keys.keys import KEY_NAMES, KeyName, Keys, is_key
from fieldwave.keys.token import Token, TokenError, check_token, sign_token

__all__ = [
    "KEY_NAMES",
    "KeyName",
    "Keys",
    "Token",
    "TokenError",
    "check_token",
    "is_key",
    "read_keys",
    "regenerate_key",
    "sign_token",
    "write_keys",
]
