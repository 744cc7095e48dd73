# A step needs the evidence that the template lists for it, from all visits and this command.
package dispatch

deny contains at(unmet("MISSING_EVIDENCE", message, to_pass), "/evidence") if {
	some kind in template.evidence[input.operation]
	not kind in input.ticket.evidence
	not kind in submitted_evidence
	message := sprintf("Template `%s` needs evidence of kind `%s` for %s.", [template_id, kind, input.operation])
	to_pass := sprintf("Add evidence of kind `%s`.", [kind])
}

submitted_evidence := {item.kind | some item in input.body.evidence}
