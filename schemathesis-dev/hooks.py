"""What the document says in words, because OpenAPI has no schema for it."""

import uuid

import schemathesis

# Of two names of one filter only one may be given; the older is left out.
OLDER_NAMES = {"template": "incident_type", "site_id": "site"}


@schemathesis.hook
def before_call(context, case, kwargs):
    generation = getattr(case.meta, "generation", None)
    if generation is None or not generation.mode.is_positive:
        return
    # Lists tell of what has no ticket, and the id of none is no id: such a request fits no schema.
    if None in (case.path_parameters or {}).values():
        generation.mode = schemathesis.GenerationMode.NEGATIVE
        return
    query = case.query if isinstance(case.query, dict) else {}
    # A cursor comes from the page before: one that is made up is refused, which tests of ours show.
    query.pop("cursor", None)
    for older, newer in OLDER_NAMES.items():
        if newer in query:
            query.pop(older, None)
    # Only an API key of an account that acts in any tenant names one: to these callers it is refused,
    # which tests of ours show.
    headers = case.headers if case.headers is not None else {}
    for name in [name for name in headers if name.lower() == "dispatch-tenant"]:
        del headers[name]
    if case.method.upper() != "POST":
        return
    # The request id and the version are said once: in a header, or in the body.
    body = case.body if isinstance(case.body, dict) else {}
    if case.headers is None:
        case.headers = {}
    if "idempotency-key" in case.headers:
        body.pop("request_id", None)
    elif "request_id" not in body:
        case.headers["idempotency-key"] = str(uuid.uuid4())
    if "if-match" in case.headers:
        body.pop("expected_version", None)
    # The path names the approval or the tenant; a body that names another one is refused.
    named = (case.path_parameters or {}).get("id")
    for member in ("approval_id", "tenant_id"):
        if "{id}" in case.path and member in body and str(body[member])[:4] == str(named)[:4]:
            body[member] = named
