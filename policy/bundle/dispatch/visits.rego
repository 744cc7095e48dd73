# A technician acts on the visit that is assigned to them. A dispatcher, where the roles table
# names one, may enter a step for a technician who called in.
package dispatch

deny contains forbidden("NOT_ASSIGNED", message, to_pass) if {
	"technician" in grants
	input.operation != "add_note"
	"technician" in input.actor.roles
	not permitted_otherwise
	not assigned
	message := sprintf("The ticket's current visit is not assigned to this technician; %s is for the one who is.", [input.operation])
	to_pass := "Call as the technician of the current visit, or have it assigned to you."
}

permitted_otherwise if {
	some role in grants
	role != "technician"
	role in input.actor.roles
}

assigned if {
	input.actor.technician_id != null
	input.actor.technician_id == input.ticket.technician_id
}
