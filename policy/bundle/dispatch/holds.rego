# Conditions that people may waive. Who, and how many of them, stands in data.approvals.rules under
# the condition's code; what happens while nobody does, in data.approvals.plans.
#
# When dispatch-api carries out what was approved it asks again, about the one who proposed it, with
# the votes that there are: a hold that enough people released is none any more. A yes is about what it
# was asked for: a hold that has come up since (the night has begun) is not released by it.
package dispatch

# A failed condition that people may waive; `otherwise` is what would pass without them.
held(code, message, otherwise) := {
	"code": code,
	"class": "APPROVAL",
	"message": message,
	"to_pass": sprintf("%s, or have it approved by %s.", [otherwise, releasers(code)]),
}

waiting contains reason if {
	some reason in hold
	not released(reason.code)
}

need := {"demands": demands, "plan": plan}

demands contains demand if {
	some reason in waiting
	demand := {
		"code": reason.code,
		"roles": asked_roles(reason.code),
		"count": data.approvals.rules[reason.code].count,
	}
}

plan := data.approvals.plans[input.operation] if data.approvals.plans[input.operation]

else := data.approvals.plans["default"]

asked_roles(code) := data.approvals.rules[code].operations[input.operation] if {
	data.approvals.rules[code].operations[input.operation]
} else := data.approvals.rules[code].roles

# Who comes to decide by an escalation decides as well as those who were asked first.
escalated_roles := {role |
	some rung in plan.escalations
	some role in rung.roles
}

counts_for(code, vote) if {
	some role in vote.roles
	role in asked_roles(code)
}

counts_for(_, vote) if {
	some role in vote.roles
	role in escalated_roles
}

# What was recorded before 1.5.0 does not say what was asked.
asked_about(_) if not input.release.codes

asked_about(code) if code in input.release.codes

released(code) if {
	asked_about(code)
	people := {vote.actor_id |
		some vote in input.release.votes
		vote.actor_id != input.release.proposer.id
		counts_for(code, vote)
	}
	count(people) >= data.approvals.rules[code].count
}

releasers(code) := text if {
	data.approvals.rules[code].count == 1
	text := concat(" or ", asked_roles(code))
} else := text if {
	text := sprintf("%d people of role %s", [
		data.approvals.rules[code].count,
		concat(" or ", asked_roles(code)),
	])
} else := "nobody: this bundle names no one who may"

# A hold that nobody may release would wait for ever.
deny contains unmet("NO_APPROVAL_RULE", message, to_pass) if {
	some reason in hold
	not data.approvals.rules[reason.code]
	message := sprintf("The bundle holds this for an approval %s and does not say who may give it.", [reason.code])
	to_pass := sprintf("Activate a bundle that has `approvals.rules.%s`.", [reason.code])
}
