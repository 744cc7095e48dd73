# Amounts for people. By the digits, not by division: no cent is lost, however large the amount.
package dispatch

money(cents) := sprintf("%s.%s %s", [
	substring(digits, 0, count(digits) - 2),
	substring(digits, count(digits) - 2, 2),
	input.tenant.currency,
]) if {
	digits := sprintf("%03d", [cents])
}
