# Triage is done when everything that the template asks for is known.
package dispatch

deny contains at(unmet("MISSING_DETAIL", message, to_pass), pointer) if {
	input.operation == "triage"
	known := object.keys(object.union(input.ticket.details, object.get(input.body, "details", {})))
	some detail in template.required_details
	not detail in known
	message := sprintf("Template `%s` needs the detail `%s` before triage is done.", [template_id, detail])
	to_pass := sprintf("Give `details.%s`.", [detail])
	pointer := sprintf("/details/%s", [detail])
}
