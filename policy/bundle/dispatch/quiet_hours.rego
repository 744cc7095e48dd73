# At night, and on the tenant's days off, customers are left in peace: no message and no confirmation
# that can wait, by the clock and the calendar of the tenant. Emergencies go on.
package dispatch

hold contains held("QUIET_HOURS", message, otherwise) if {
	input.operation in data.quiet_hours.operations
	not exempt
	in_quiet_hours
	message := sprintf("From %s to %s (%s) customers are left in peace: %s for template `%s` would come at %s.", [
		clock_text(quiet.from_minute),
		clock_text(quiet.until_minute),
		zone,
		input.operation,
		what_for,
		clock_text(minute_of_day),
	])
	otherwise := sprintf("%s %s local time", [way_out, clock_text(quiet.until_minute)])
}

hold contains held("QUIET_DAY", message, otherwise) if {
	input.operation in data.quiet_hours.operations
	not exempt
	data.quiet_hours.on_days_off
	day_text in input.tenant.calendar.days_off
	message := sprintf("%s is a day off (%s): customers are left in peace.", [day_text, zone])
	otherwise := sprintf("%s the next working day", [way_out])
}

exempt if input.ticket.template in data.quiet_hours.exempt_templates

default what_for := "of none"

what_for := input.ticket.template

way_out := "Send it with `send_at` from" if input.operation == "comms_outbound"

else := "Do it from"

# The tenant's own hours, else the bundle's.
quiet := input.tenant.quiet_hours if input.tenant.quiet_hours

else := data.quiet_hours

in_quiet_hours if {
	quiet.from_minute <= quiet.until_minute
	minute_of_day >= quiet.from_minute
	minute_of_day < quiet.until_minute
}

in_quiet_hours if {
	quiet.from_minute > quiet.until_minute
	minute_of_day >= quiet.from_minute
}

in_quiet_hours if {
	quiet.from_minute > quiet.until_minute
	minute_of_day < quiet.until_minute
}

zone := input.tenant.calendar.time_zone

# When the customer would hear of it.
heard_at := max([time.parse_rfc3339_ns(input.at), time.parse_rfc3339_ns(input.body.send_at)]) if {
	is_string(input.body.send_at)
} else := time.parse_rfc3339_ns(input.at)

# By the tenant's clock on the wall, on the days on which it is changed too.
minute_of_day := (hour * 60) + minute if [hour, minute, _] := time.clock([heard_at, zone])

day_text := sprintf("%04d-%02d-%02d", time.date([heard_at, zone]))

clock_text(minutes) := sprintf("%02d:%02d", [floor(minutes / 60), minutes % 60])
