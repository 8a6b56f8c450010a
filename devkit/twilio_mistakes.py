"""What goes wrong with the signatures of Twilio, one row for each mistake: why they fail, and what to change."""

from devkit.diagnosis import Mistake

TOKEN = "`switchboard secrets put twilio-auth-token`"  # noqa: S105 - a command
ADD = "`switchboard secrets put twilio-auth-token --add`"
PASTE = "paste the stack's output VoiceUrl or VoiceStatusUrl at Twilio as it is"

MISTAKES = {
    # The URL
    "url_scheme": Mistake(
        "Twilio was given an {found}:// URL, and this stack is {expected}://",
        PASTE,
    ),
    "host": Mistake(
        "Twilio was given the host {found}, and this stack expects {expected}",
        f"{PASTE}, or deploy with PublicBaseUrl=https://{{found}}",
    ),
    "port": Mistake(
        "Twilio signed the URL {found}, and this stack expects it {expected}",
        f"{PASTE}, or deploy with PublicBaseUrl as Twilio has it",
    ),
    "path_mapping": Mistake(
        "the path that Twilio was given is {found} the one that reaches the function, as a stage or mapping of the API "
        "makes it",
        f"map the API at the root of the domain (stage $default), and {PASTE}",
    ),
    "trailing_slash": Mistake("Twilio was given the URL {found} a slash at its end", PASTE),
    "query_order": Mistake(
        "the query was in another order when Twilio signed it",
        "see what stands before the API, or give Twilio the URL without a query",
    ),
    "query_added": Mistake(
        "Twilio signed the URL without the query that reaches the function",
        "see what adds it before the API",
    ),
    "query_lost": Mistake(
        "Twilio signed the URL with a query that did not reach the function as it was",
        "see what takes it off before the API, or give Twilio the URL without a query",
    ),
    "query_escapes": Mistake(
        "the query was escaped otherwise when Twilio signed it",
        "give Twilio a URL without special characters in its query",
    ),
    "url_malformed": Mistake(
        "this stack's public URL cannot be read, so that nothing verifies",
        "deploy with PublicBaseUrl empty, or https:// and a host",
    ),
    # The token
    "token_space": Mistake(
        "the stored auth token {id} has white space or a line break around it",
        f"store it again with {TOKEN}, which removes that",
    ),
    "token_quoted": Mistake(
        "the stored auth token {id} has quotation marks around it", f"store it again without them, with {TOKEN}"
    ),
    "secret_ended": Mistake(
        "Twilio still signs with the auth token {id}, whose time (not_after) was over",
        f"promote the secondary token in Twilio's console, or store this one again with {ADD}",
    ),
    "secret_of_parameter": Mistake(
        "what signed is stored as {where} and not as twilio-auth-token", f"store the primary auth token with {TOKEN}"
    ),
    "secret_of_stack": Mistake(
        "it was signed with the auth token {id} of another environment, {where}",
        f"point the number at that stack's URL, or store its account's token here with {TOKEN}",
    ),
    "token_shape": Mistake(
        "the stored value {id} is no auth token (32 hex digits), perhaps the secret of an API key",
        f"copy the auth token from Twilio's console into {TOKEN}",
    ),
    "wrong_account": Mistake(
        "the request is of an account that TwilioAccountSids does not name, and each account (a subaccount as well) "
        "has its own token",
        f"store that account's token with {ADD}, and add it to TwilioAccountSids",
    ),
    "wrong_token": Mistake(
        "it was made with none of the auth tokens that are stored here, or for another URL",
        f"compare {TOKEN} with the primary token of the number's account (the secondary signs only once it is "
        "promoted, a subaccount has its own), and the URL at Twilio with the stack's outputs",
    ),
    "no_secret": Mistake("this stack has no auth token, so that it refuses everything", f"store it with {TOKEN}"),
    "all_ended": Mistake(
        "the time of every stored auth token (not_after) was over", f"store the primary one with {TOKEN}"
    ),
    "unreadable": Mistake(
        "the parameter was typed by hand and is no list of secrets, so that nothing verifies",
        f"store the auth token with {TOKEN}",
    ),
    # The header
    "header_missing": Mistake(
        "there is no X-Twilio-Signature", "see that the proxy before the API keeps it, or who sent this if not Twilio"
    ),
    "header_empty": Mistake(
        "X-Twilio-Signature is empty", "see what empties it before the API, or who sent this if not Twilio"
    ),
    "header_twice": Mistake("X-Twilio-Signature was sent twice", "see what repeats it before the API"),
    "shared_key": Mistake(
        "it was signed with a shared key (HMAC-SHA256) instead of the auth token",
        "take this URL out of the rules for shared keys in Twilio's webhook settings",
    ),
    "malformed": Mistake(
        "the value of X-Twilio-Signature is no signature of Twilio (28 letters of base64)",
        "see what rewrites it, or who sent this if not Twilio",
    ),
    # The fields
    "blank_dropped": Mistake(
        "empty fields that Twilio signed are missing from the captured form",
        "hand on the body's bytes as they came, in whatever stands before the API (or took the capture)",
    ),
    "blank_ignored": Mistake(
        "the empty fields of the form were left out when it was signed",
        "let the sender sign every field, as Twilio does",
    ),
    "plus_as_space": Mistake(
        "the + of a number is not escaped in the captured form, so that it reads as a space",
        "hand on the body's bytes as they came, or send the form with curl --data-urlencode",
    ),
    "field_repeated": Mistake(
        "only one value of a repeated field was signed", "let the sender sign every value, as Twilio does"
    ),
    "json_body": Mistake(
        "the request has a JSON body (bodySHA256 in its query), and voice webhooks are forms",
        "point only a number's voice webhooks at this URL, with HTTP POST",
    ),
    "json_body_changed": Mistake(
        "the JSON body is not the one whose hash Twilio signed", "hand on the body's bytes as they came"
    ),
    "fields_in_query": Mistake(
        "the request was signed as HTTP GET, with its fields in the query", "choose HTTP POST for the URL at Twilio"
    ),
    "body_length": Mistake(
        "the captured body is shorter or longer than its content-length says, so it is not what was signed",
        "capture the bytes as they were sent",
    ),
}
