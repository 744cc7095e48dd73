//! The functions that a bundle may call, and how they are called.
//!
//! A list of what is allowed, not of what is forbidden: a builtin that a later evaluator brings
//! along is refused until somebody has looked at it. None of these reads a clock, randomness, the
//! network, the environment or the host, and none makes much out of little (`numbers.range`).
//!
//! The machine of regorus 0.14 drops the body of a rule in which a function fails, so a condition
//! that cannot be computed would be as if it were not there. Therefore a failure is written down
//! ([`begin`], [`fault`]), and an evaluation in which one happened has no answer. What functions make
//! is counted too: the budget of instructions does not see how long a text is.

use std::cell::{Cell, RefCell};

use regorus::{
    LimitError, Value,
    rvm::program::BuiltinInfo,
    unstable::{BUILTINS, BuiltinFcn, Expr, Ref, Span},
};

use crate::error::EvaluationError;

/// Bytes of text, and elements times [`ELEMENT_BYTES`], that the functions of one evaluation make.
const MOST_MADE: usize = 16 << 20;
/// Of one text.
const MOST_OF_ONE: usize = 1 << 20;
const ELEMENT_BYTES: usize = 64;
/// Digits of a width or a precision in a format.
const MOST_DIGITS: usize = 3;

thread_local! {
    static MADE: Cell<usize> = const { Cell::new(0) };
    static FAULT: RefCell<Option<EvaluationError>> = const { RefCell::new(None) };
}

macro_rules! functions {
    ($($name:literal)*) => {
        /// Names of the allowed builtins, sorted.
        pub const ALLOWED: &[&str] = &[$($name),*];

        /// Each of [`ALLOWED`], watched.
        const WATCHED: &[BuiltinFcn] = &[
            $((|span, expressions, arguments, _| call($name, span, expressions, arguments), 0)),*
        ];
    };
}

functions! {
    "abs"
    "array.concat"
    "array.reverse"
    "array.slice"
    "ceil"
    "concat"
    "contains"
    "count"
    "endswith"
    "floor"
    "format_int"
    "glob.match"
    "indexof"
    "intersection"
    "is_array"
    "is_boolean"
    "is_null"
    "is_number"
    "is_object"
    "is_set"
    "is_string"
    "json.filter"
    "json.remove"
    "lower"
    "max"
    "min"
    "object.filter"
    "object.get"
    "object.keys"
    "object.remove"
    "object.subset"
    "object.union"
    "object.union_n"
    "product"
    "regex.is_valid"
    "regex.match"
    "replace"
    "round"
    "semver.compare"
    "sort"
    "split"
    "sprintf"
    "startswith"
    "strings.any_prefix_match"
    "strings.any_suffix_match"
    "strings.reverse"
    "substring"
    "sum"
    "time.add_date"
    "time.clock"
    "time.date"
    "time.diff"
    "time.parse_duration_ns"
    "time.parse_rfc3339_ns"
    "time.weekday"
    "to_number"
    "trim"
    "trim_left"
    "trim_prefix"
    "trim_right"
    "trim_space"
    "trim_suffix"
    "type_name"
    "union"
    "upper"
}

/// Forgets what an evaluation on this thread left behind.
pub(crate) fn begin() {
    MADE.set(0);
    FAULT.take();
}

/// What could not be computed since [`begin`], if anything.
pub(crate) fn fault() -> Option<EvaluationError> {
    FAULT.take()
}

fn note(error: EvaluationError) {
    FAULT.with_borrow_mut(|fault| {
        fault.get_or_insert(error);
    });
}

/// What to call for a builtin of this name.
pub(crate) fn watched(name: &str, original: BuiltinFcn) -> BuiltinFcn {
    let found = ALLOWED.binary_search(&name).ok();
    let watched = found.and_then(|index| WATCHED.get(index));
    watched.map_or(original, |watched| (watched.0, original.1))
}

fn call(
    name: &'static str,
    span: &Span,
    expressions: &[Ref<Expr>],
    arguments: &[Value],
) -> anyhow::Result<Value> {
    let original = BUILTINS
        .get(name)
        .ok_or_else(|| anyhow::anyhow!("there is no function {name}"))?;
    made(name, most(name, arguments)?.unwrap_or(0), MOST_OF_ONE)?;
    let answer = original.0(span, expressions, arguments, true);
    match &answer {
        Ok(value) => made(name, size(value), MOST_MADE)?,
        // Its text may hold what the input held.
        Err(_) => note(EvaluationError::Failed {
            reason: format!("`{name}` cannot be computed for what it was given"),
        }),
    }
    answer
}

/// Adds to what was made, or ends the evaluation.
fn made(name: &'static str, bytes: usize, most: usize) -> Result<(), LimitError> {
    let all = MADE.get().saturating_add(bytes);
    if bytes <= most && all <= MOST_MADE {
        if most == MOST_MADE {
            MADE.set(all);
        }
        return Ok(());
    }
    note(EvaluationError::Budget {
        reason: format!("`{name}` makes too much"),
    });
    Err(LimitError::MemoryLimitExceeded {
        usage: u64::try_from(all).unwrap_or(u64::MAX),
        limit: u64::try_from(MOST_MADE).unwrap_or(u64::MAX),
    })
}

fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.len().saturating_mul(ELEMENT_BYTES),
        Value::Set(all) => all.len().saturating_mul(ELEMENT_BYTES),
        Value::Object(all) => all.len().saturating_mul(ELEMENT_BYTES),
        _ => 0,
    }
}

/// How long the text can be at most that one of those makes which make long ones of short ones.
fn most(name: &str, arguments: &[Value]) -> anyhow::Result<Option<usize>> {
    let text = |index: usize| match arguments.get(index) {
        Some(Value::String(text)) => &**text,
        _ => "",
    };
    let lengths = |value: Option<&Value>| -> Vec<usize> {
        match value {
            Some(Value::Array(all)) => all.iter().map(size).collect(),
            Some(Value::Set(all)) => all.iter().map(size).collect(),
            _ => Vec::new(),
        }
    };
    Ok(match name {
        "concat" => {
            let parts = lengths(arguments.get(1));
            let between = text(0).len().saturating_mul(parts.len());
            Some(between.saturating_add(parts.iter().sum()))
        }
        "replace" => {
            let (whole, old, new) = (text(0), text(1), text(2));
            let places = whole.matches(old).count();
            Some(places.saturating_mul(new.len()).saturating_add(whole.len()))
        }
        "sprintf" => {
            let verbs = verbs(text(0))?;
            let width = 10_usize.pow(3).saturating_mul(verbs);
            let parts: usize = lengths(arguments.get(1)).iter().sum();
            Some(text(0).len().saturating_add(width).saturating_add(parts))
        }
        _ => None,
    })
}

/// Verbs in a format; refuses one that the evaluator would make very wide, or cannot read.
fn verbs(format: &str) -> anyhow::Result<usize> {
    if is_wide(format) {
        note(EvaluationError::Failed {
            reason: format!("`sprintf` takes a width or precision of at most {MOST_DIGITS} digits"),
        });
        anyhow::bail!("the format is refused");
    }
    Ok(format.matches('%').count())
}

/// Whether a verb of the format has a width or precision that is very great, or no number to the
/// evaluator.
pub(crate) fn is_wide(format: &str) -> bool {
    format.split('%').skip(1).any(|verb| {
        let number = verb.strip_prefix('.').unwrap_or(verb);
        let digits = number.chars().take_while(|c| c.is_numeric());
        let (digits, others): (Vec<_>, Vec<_>) = digits.partition(char::is_ascii_digit);
        !others.is_empty() || digits.len() > MOST_DIGITS
    })
}

/// Arithmetic fails like functions do, but is none: the program calls one of these before it does
/// arithmetic. It gives back the left operand.
pub(crate) fn operators() -> [(BuiltinInfo, BuiltinFcn); 4] {
    let named = |name: &str, function: BuiltinFcn| {
        let info = BuiltinInfo {
            name: name.to_owned(),
            num_args: 2,
        };
        (info, function)
    };
    [
        named(
            "+ or *",
            (|_, _, it, _| operands("+` or `*", it, both_numbers(it)), 2),
        ),
        named(
            "-",
            (
                |_, _, it, _| operands("-", it, both_numbers(it) || both_sets(it)),
                2,
            ),
        ),
        named(
            "/",
            (
                |_, _, it, _| operands("/", it, both_numbers(it) && !by_zero(it)),
                2,
            ),
        ),
        named(
            "%",
            (
                |_, _, it, _| operands("%", it, both_whole(it) && !by_zero(it)),
                2,
            ),
        ),
    ]
}

fn operands(name: &str, it: &[Value], fit: bool) -> anyhow::Result<Value> {
    if !fit {
        note(EvaluationError::Failed {
            reason: format!("`{name}` cannot be computed for what it was given"),
        });
    }
    Ok(it.first().cloned().unwrap_or(Value::Undefined))
}

fn both_numbers(it: &[Value]) -> bool {
    matches!(it, [Value::Number(_), Value::Number(_)])
}

fn both_sets(it: &[Value]) -> bool {
    matches!(it, [Value::Set(_), Value::Set(_)])
}

fn both_whole(it: &[Value]) -> bool {
    matches!(it, [Value::Number(a), Value::Number(b)] if a.is_integer() && b.is_integer())
}

fn by_zero(it: &[Value]) -> bool {
    matches!(it, [_, Value::Number(by)] if by.as_f64() == Some(0.0))
}

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
