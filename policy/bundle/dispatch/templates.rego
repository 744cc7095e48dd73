# The incident template that a command is judged by: the one that the body names, else the ticket's.
package dispatch

template_id := input.body.template if input.body.template

else := input.ticket.template

template := data.templates[template_id]

template_names := concat(", ", object.keys(data.templates))

deny contains at(unmet("UNKNOWN_TEMPLATE", message, to_pass), "/template") if {
	named := input.body.template
	not data.templates[named]
	message := sprintf("There is no incident template `%s`.", [named])
	to_pass := sprintf("Name one of: %s.", [template_names])
}

# Without the template nobody can say whether these commands may pass, nor who has to release them.
deny contains unmet("TEMPLATE_RETIRED", message, to_pass) if {
	input.operation in {"triage", "return_visit", "complete", "request_change"}
	not input.body.template
	not data.templates[input.ticket.template]
	message := sprintf("The ticket's template `%s` is not in the active bundle.", [input.ticket.template])
	to_pass := sprintf("Triage the ticket with one of: %s; or activate a bundle that has the template.", [template_names])
}
