"""What goes wrong with the signatures of Vapi, one row for each mistake: why they fail, and what to change."""

from devkit.diagnosis import Mistake

SECRET = "`switchboard secrets put vapi-webhook`"  # noqa: S105 - a command

MISTAKES = {
    # The secret
    "secret_space": Mistake(
        "the stored secret {id} has white space or a line break around it",
        f"store it again with {SECRET}, which removes that",
    ),
    "secret_space_sent": Mistake(
        "the secret {id} was given to the sender with white space or a line break around it",
        "paste it at Vapi again, without",
    ),
    "secret_quoted": Mistake(
        "the stored secret {id} has quotation marks around it", f"store it again without them, with {SECRET}"
    ),
    "whsec_left": Mistake(
        "the stored secret {id} still begins with whsec_, which the sender does not count as part of it",
        f"store it again without that prefix, with {SECRET}",
    ),
    "whsec_missing": Mistake(
        "the sender counts whsec_ as part of the secret, and the stored secret {id} is without it",
        f"store it again with that prefix, with {SECRET}",
    ),
    "secret_is_base64": Mistake(
        "the sender decodes the secret {id} from base64, and this stack uses it as text",
        'switch "secret is base64" off in the credential, or deploy with SignatureOverrides '
        '{{"secret_encoding": "base64"}}',
    ),
    "secret_is_text": Mistake(
        "the sender uses the secret {id} as text, and this stack decodes it from base64",
        'switch "secret is base64" on in the credential, or deploy with SignatureOverrides '
        '{{"secret_encoding": "utf-8"}}',
    ),
    "secret_is_hex": Mistake(
        "the sender decodes the secret {id} from hex, and this stack does not",
        "let the sender use the secret as text",
    ),
    "secret_not_base64": Mistake(
        "this stack's scheme needs a base64 secret, and the stored secret {id} is not base64",
        f"store the secret as the credential has it with {SECRET}, or one of `switchboard secrets rotate vapi-webhook --generate FILE`",
    ),
    "secret_in_header": Mistake(
        "the header {header} carries the secret {id} itself instead of a signature",
        "choose type HMAC for the credential at Vapi, take the secret out of the server's headers, and rotate it",
    ),
    "secret_ended": Mistake(
        "the sender still uses the secret {id}, whose time (not_after) was over",
        "paste the newest secret at Vapi, or store this one again while you do, with `switchboard secrets rotate`",
    ),
    "secret_of_parameter": Mistake(
        "the sender uses the value of {where} as its secret",
        "paste the value of vapi-webhook into the credential at Vapi instead",
    ),
    "secret_of_stack": Mistake(
        "it was signed with the secret {id} of another environment, {where}",
        "point the sender at that stack's URL, or give it the secret of this one",
    ),
    "no_secret": Mistake("this stack has no secret, so that it refuses everything", f"store one with {SECRET}"),
    "all_ended": Mistake(
        "the time of every stored secret (not_after) was over", f"store the one that Vapi uses with {SECRET}"
    ),
    "unreadable": Mistake(
        "the parameter was typed by hand and is no list of secrets, so that nothing verifies",
        f"store the secret with {SECRET}",
    ),
    "wrong_secret": Mistake(
        "it was made with none of the secrets that are stored here",
        f"paste one and the same value into Vapi's credential and into {SECRET}",
    ),
    # The headers
    "header_missing": Mistake(
        "there is no header {expected} and no other signature",
        "select a credential of type HMAC wherever the server URL is set at Vapi, or see that the proxy keeps headers",
    ),
    "header_empty": Mistake(
        "the header {header} is empty, as Vapi sends it when no credential is attached",
        "select a credential wherever the server URL is set at Vapi",
    ),
    "header_name": Mistake(
        "the signature is in the header {header}, and this stack reads {expected}",
        'rename it in the credential, or deploy with SignatureOverrides {{"signature_header": "{header}"}}',
    ),
    "header_name_similar": Mistake(
        "there is no header {expected}, only one that is spelled {header}",
        'rename it in the credential, or deploy with SignatureOverrides {{"signature_header": "{header}"}}',
    ),
    "timestamp_header_name": Mistake(
        "the signed time is in the header {header}, and this stack reads {expected}",
        'rename it in the credential, or deploy with SignatureOverrides {{"timestamp_header": "{header}"}}',
    ),
    "svix_headers": Mistake(
        "the headers are called svix-… as Svix sends them, and this stack reads webhook-…",
        'deploy with SignatureOverrides {{"signature_header": "svix-signature", "timestamp_header": '
        '"svix-timestamp", "id_header": "svix-id"}}',
    ),
    "header_twice": Mistake(
        "the header {header} was sent twice", "let only the credential set it, not the server's own headers or a proxy"
    ),
    "header_quoted": Mistake(
        "the value of the header {header} is in quotation marks or white space", "let the sender send it bare"
    ),
    "other_preset": Mistake(
        "it was signed by the scheme {other}, and this stack expects {expected}",
        "deploy with SignatureScheme={other}, or change the credential at Vapi",
    ),
    "other_preset_only": Mistake(
        "it carries the headers of the scheme {other}, and this stack expects {expected}",
        "deploy with SignatureScheme={other}, or change the credential at Vapi, and compare the secret as well",
    ),
    "x_vapi_secret": Mistake(
        "it carries the secret in X-Vapi-Secret, and this stack expects the scheme {expected}",
        "replace `server.secret` or the bearer credential at Vapi by one of type HMAC, or deploy with "
        "SignatureScheme=vapi-secret, which has no replay protection",
    ),
    # The form of the signature
    "prefix_missing": Mistake(
        "the signature lacks the prefix {expected} that this stack expects",
        'set that prefix in the credential, or deploy with SignatureOverrides {{"prefix": ""}}',
    ),
    "prefix_unexpected": Mistake(
        "the signature begins with {prefix}, which this stack does not expect",
        'remove the prefix in the credential, or deploy with SignatureOverrides {{"prefix": "{prefix}"}}',
    ),
    "upper_case": Mistake(
        "the signature is in upper-case hex, and only lower-case is accepted", "let the sender write lower-case hex"
    ),
    "base64_dialect": Mistake(
        "the signature is in URL-safe or unpadded base64, and only the standard form is accepted",
        "let the sender write standard base64 with padding",
    ),
    "encoding": Mistake(
        "the signature is in {found}, and this stack expects {expected}",
        'choose {expected} in the credential, or deploy with SignatureOverrides {{"encoding": "{found}"}}',
    ),
    "algorithm": Mistake(
        "the signature was made with {found}, and this stack expects {expected}",
        'choose {expected} in the credential, or deploy with SignatureOverrides {{"algorithm": "{found}"}}',
    ),
    "malformed": Mistake(
        "the value of the header {header} is no signature at all",
        "choose type HMAC for the credential at Vapi, or see what rewrites the header",
    ),
    # What was signed
    "timestamp_unsigned": Mistake(
        "the sender signs the body alone, and this stack expects the time to be signed with it",
        'switch "include timestamp" on in the credential (or deploy with SignatureScheme=body-hmac and its header\'s '
        "name in SignatureOverrides, without replay protection)",
    ),
    "timestamp_signed": Mistake(
        "the sender signs the time with the body, and this stack expects the body alone",
        "deploy with SignatureScheme=vapi-hmac and the names of its headers in SignatureOverrides",
    ),
    "payload": Mistake(
        "the sender signs {found}, and this stack expects {expected}",
        'set {expected} as the credential\'s payload format, or deploy with SignatureOverrides {{"payload": "{found}"}}',
    ),
    "timestamp_unit": Mistake(
        "the signed time is in {found} and the one in the header {header} in {sent}",
        "let the sender sign the text that it sends",
    ),
    "timestamp_form": Mistake(
        "the time in the header {header} is not in seconds (10 digits) or milliseconds (13 digits) since 1970",
        "let the sender write it so, and sign that",
    ),
    "timestamp_missing": Mistake(
        "there is no time in the header {header}, which this stack expects to be signed",
        'switch "include timestamp" on in the credential',
    ),
    "message_id": Mistake(
        "the message id in the header {header} is missing or holds more than letters, digits, - and _",
        "set the message id header in the credential, or choose another scheme",
    ),
    "body_reserialised": Mistake(
        "the captured body is not the one that was signed, which was {form}",
        "hand on the body's bytes as they came, without parsing them, in whatever stands before the API (or took "
        "the capture)",
    ),
    "body_line_end": Mistake(
        "the captured body is not the one that was signed, which was {form}",
        "hand on the body's bytes as they came, in whatever stands before the API (or took the capture)",
    ),
    "body_base64": Mistake(
        "the captured body is not the one that was signed, which was {form}",
        "see to it that isBase64Encoded says what the body is",
    ),
    "body_length": Mistake(
        "the captured body is shorter or longer than its content-length says, so it is not what was signed",
        "capture the bytes as they were sent",
    ),
    # The time
    "stale": Mistake(
        "the signed time, though right, lies {age} before the request arrived, where {tolerance} seconds are allowed",
        "see whether it was held back or sent again, and set the sender's clock",
    ),
    "future": Mistake(
        "the signed time, though right, lies {age} after the request arrived, where {tolerance} seconds are allowed",
        "set the sender's clock (or this machine's, if the capture does not say when it arrived)",
    ),
}
