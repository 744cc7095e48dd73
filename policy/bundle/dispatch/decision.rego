# The one question that dispatch-api asks: data.dispatch.decision.
#
# Each rule file adds to `deny` one reason per failed condition, and to `hold` one per condition that
# people may waive (holds.rego). A command passes when the roles table permits it, nothing is denied
# and nothing waits; whatever is not permitted is denied.
package dispatch

decision := verdict if result != "REQUIRE_APPROVAL"

else := object.union(verdict, {"approval": need})

verdict := {
	"result": result,
	"reasons": (deny | waiting),
	"obligations": [],
}

default result := "DENY"

result := "REQUIRE_APPROVAL" if {
	some _ in waiting
	permitted
	count(deny) == 0
}

result := "ALLOW" if {
	permitted
	count(deny) == 0
	count(waiting) == 0
}

# The four classes of refusal; dispatch-api answers KILL_SWITCH, STAGE, FORBIDDEN or POLICY_DENIED.

stopped(code, message, to_pass) := {
	"code": code,
	"class": "KILL_SWITCH",
	"message": message,
	"to_pass": to_pass,
}

stage(code, message, to_pass) := {
	"code": code,
	"class": "STAGE",
	"message": message,
	"to_pass": to_pass,
}

forbidden(code, message, to_pass) := {
	"code": code,
	"class": "FORBIDDEN",
	"message": message,
	"to_pass": to_pass,
}

unmet(code, message, to_pass) := {
	"code": code,
	"class": "POLICY_DENIED",
	"message": message,
	"to_pass": to_pass,
}

at(reason, pointer) := object.union(reason, {"pointer": pointer})
