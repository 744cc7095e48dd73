# A step needs the evidence that the template lists for it: on record (dispatch-api counts what was
# verified where the template wants that), or in this command. What comes with a command is not
# verified yet.
package dispatch

deny contains at(unmet("MISSING_EVIDENCE", message, to_pass), "/evidence") if {
	some kind in template.evidence[input.operation]
	not kind in input.ticket.evidence
	not kind in submitted_evidence
	message := sprintf("Template `%s` needs evidence of kind `%s` for %s.", [template_id, kind, input.operation])
	to_pass := way_to_add(kind)
}

way_to_add(kind) := sprintf("Add evidence of kind `%s` whose file was checked against its hash.", [kind]) if {
	kind in to_verify
} else := sprintf("Add evidence of kind `%s`.", [kind])

submitted_evidence := {item.kind |
	some item in input.body.evidence
	not item.kind in to_verify
}

default to_verify := []

to_verify := template.verified_evidence
