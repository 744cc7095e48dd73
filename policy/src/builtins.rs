//! The functions that a bundle may call.
//!
//! A list of what is allowed, not of what is forbidden: a builtin that a later evaluator brings
//! along is refused until somebody has looked at it. None of these reads a clock, randomness, the
//! network, the environment or the host, and none makes much out of little (`numbers.range`), since
//! the evaluation's budget is not checked inside a builtin.

/// Names of the allowed builtins, sorted.
pub const ALLOWED: &[&str] = &[
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "indexof",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.remove",
    "lower",
    "max",
    "min",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.is_valid",
    "regex.match",
    "replace",
    "round",
    "semver.compare",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.reverse",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.parse_duration_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "upper",
];

/// What the compiler calls set operators (`|`, `&`, `-`) that were written as functions.
const INTERNAL: &[&str] = &["__builtin_sets.union", "__builtin_sets.intersection"];

/// Whether a bundle may call it.
pub fn is_allowed(name: &str) -> bool {
    ALLOWED.binary_search(&name).is_ok() || INTERNAL.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_reads_nothing_from_outside() {
        assert!(ALLOWED.is_sorted());
        for outside in [
            "http.send",
            "net.lookup_ip_addr",
            "opa.runtime",
            "print",
            "rand.intn",
            "time.now_ns",
            "trace",
            "uuid.rfc4122",
        ] {
            assert!(!is_allowed(outside), "{outside}");
        }
        assert!(is_allowed("sum"));
    }
}
