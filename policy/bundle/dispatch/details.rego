# Details are kept for ever, so only those that the template lists are taken, each with a value that
# it admits. No reason repeats a key or a value that is not listed: reasons are kept too, and it may
# be somebody's name. (For the same reason dispatch-api hides such keys and values from this input.)
package dispatch

given_details := object.get(input.body, "details", {}) if input.operation in {"create_ticket", "triage"}

deny contains at(unmet("UNKNOWN_DETAIL", message, to_pass), "/details") if {
	known := template.known_details
	some detail, _ in given_details
	not known[detail]
	message := sprintf("A detail is given that template `%s` does not list.", [template_id])
	to_pass := sprintf("Give only: %s. What has no place there belongs in a note.", [concat(", ", object.keys(known))])
}

deny contains at(unmet("UNKNOWN_DETAIL", message, to_pass), pointer) if {
	known := template.known_details
	some detail, value in given_details
	kind := known[detail]
	not admits(kind, value)
	message := sprintf("Template `%s` does not admit this value for the detail `%s`.", [template_id, detail])
	to_pass := sprintf("Give `details.%s` as %s.", [detail, admitted(kind)])
	pointer := sprintf("/details/%s", [detail])
}

admits(kind, value) if {
	kind == "flag"
	is_boolean(value)
}

admits(kind, value) if {
	is_object(kind)
	is_number(value)
	value >= 0
	value <= kind.number.max
}

admits(kind, value) if {
	is_object(kind)
	value in kind.word.one_of
}

admitted("flag") := "true or false"

admitted(kind) := sprintf("a whole number from 0 to %v", [kind.number.max]) if is_object(kind)

admitted(kind) := sprintf("one of: %s", [concat(", ", kind.word.one_of)]) if is_object(kind)
