//! What is undefined ends a rule's body, as it does in OPA.
//!
//! The machine of regorus 0.14 goes on where OPA does not: a variable may be bound to what is
//! undefined (`x := input.none`), a function is called with it, and a set takes it in. A condition
//! that somebody wrote to be met would then count as met. So a guard is put before each instruction
//! that must not see an undefined value and might, and every address moves along. (`_ := x` leaves no
//! instruction to guard: write `x` or give it a name.)
//!
//! For the same reason a call within `not` ends the body when an argument is undefined: OPA takes
//! the arguments of calls (and of `in`, `!=`, `<`, `+` …) out of the negation, and so do we.
//!
//! Calls go to the watched form of a function, and before arithmetic its operands are looked at
//! ([`builtins`]).

use std::{collections::BTreeSet, sync::Arc};

use regorus::{
    Value,
    rvm::{
        Instruction, Program,
        instructions::{BuiltinCallParams, GuardMode, InstructionData, LoopMode, LoopStartParams},
    },
};

use crate::{builtins, error::BundleError};

/// The program with its guards.
pub(crate) fn insert(program: &Program) -> Result<Program, BundleError> {
    guarded(program).ok_or_else(|| BundleError::Rego {
        message: "the rules are too many for one program; shorten them".to_owned(),
    })
}

/// Nothing when an address does not fit.
fn guarded(old: &Program) -> Option<Program> {
    let mut new = old.clone();
    new.instructions.clear();
    new.instruction_spans.clear();
    let once = u16::try_from(new.literals.len()).ok()?;
    new.literals.push(Value::from(vec![Value::from(true)]));
    for (info, function) in new
        .builtin_info_table
        .iter()
        .zip(&mut new.resolved_builtins)
    {
        *function = builtins::watched(&info.name, *function);
    }
    let operators = u16::try_from(new.builtin_info_table.len()).ok()?;
    for (info, function) in builtins::operators() {
        new.builtin_info_table.push(info);
        new.resolved_builtins.push(function);
    }
    // New address of each old one: that of the first guard before it, so that a jump meets the
    // guards and nothing comes between an instruction and its predecessor.
    let mut moved = Vec::with_capacity(old.instructions.len() + 1);
    let mut open = Vec::new();
    let mut added = BTreeSet::new();
    let targets = targets(old);
    // Registers that hold something for sure, and need no guard.
    let mut defined = BTreeSet::new();
    for (index, instruction) in old.instructions.iter().enumerate() {
        moved.push(u16::try_from(new.instructions.len()).ok()?);
        if targets.contains(&index) {
            defined.clear();
        }
        for register in must_be_defined(instruction, &old.instruction_data) {
            if !defined.insert(register) {
                continue;
            }
            new.instructions.push(Instruction::Guard {
                register,
                mode: GuardMode::NotUndefined,
            });
        }
        if let Some((operator, left, right)) = arithmetic(instruction) {
            let params_index = new
                .instruction_data
                .add_builtin_call_params(BuiltinCallParams {
                    dest: left,
                    builtin_index: operators.checked_add(operator)?,
                    num_args: 2,
                    args: [left, right, 0, 0, 0, 0, 0, 0],
                });
            new.instructions
                .push(Instruction::BuiltinCall { params_index });
        }
        if let Instruction::ComprehensionEnd {} = instruction {
            // Of `enter`, below.
            let params_index = open.pop()?;
            let next = u16::try_from(new.instructions.len()).ok()?;
            let params = new.instruction_data.get_loop_params_mut(params_index)?;
            params.loop_end = next.checked_add(1)?;
            new.instructions.push(Instruction::LoopNext {
                body_start: params.body_start,
                loop_end: params.loop_end,
            });
            added.insert(usize::from(next));
        }
        new.instructions.push(*instruction);
        define(&mut defined, instruction, old);
        if let Instruction::ComprehensionBegin { params_index } = instruction {
            open.push(enter(&mut new, *params_index, once)?);
        }
        let span = old.instruction_spans.get(index).cloned().flatten();
        new.instruction_spans.resize(new.instructions.len(), span);
    }
    moved.push(u16::try_from(new.instructions.len()).ok()?);
    let loops = old.instruction_data.loop_params.len();
    readdress(&mut new, &moved, loops, &added)?;
    Some(new)
}

/// Begins a loop of one turn around the body of a comprehension, in the two registers that every
/// comprehension has and a Rego one does not use. What fails in a body ends the innermost loop, and
/// without one of its own a comprehension would end that around it.
fn enter(program: &mut Program, comprehension: u16, once: u16) -> Option<u16> {
    let comprehensions = &program.instruction_data.comprehension_begin_params;
    let comprehension = comprehensions.get(usize::from(comprehension))?;
    let (key_reg, value_reg) = (comprehension.key_reg, comprehension.value_reg);
    let begin = program.instructions.len();
    let params_index = program.instruction_data.add_loop_params(LoopStartParams {
        mode: LoopMode::ForEach,
        collection: value_reg,
        key_reg,
        value_reg,
        result_reg: key_reg,
        body_start: u16::try_from(begin + 2).ok()?,
        loop_end: 0,
    });
    program.instructions.push(Instruction::Load {
        dest: value_reg,
        literal_idx: once,
    });
    program
        .instructions
        .push(Instruction::LoopStart { params_index });
    Some(params_index)
}

/// Moves every address of the old program.
fn readdress(
    program: &mut Program,
    moved: &[u16],
    loops: usize,
    added: &BTreeSet<usize>,
) -> Option<()> {
    let long = |address: u32| {
        let address = usize::try_from(address).ok()?;
        moved.get(address).copied().map(u32::from)
    };
    let short = |address: &mut u16| {
        *address = *moved.get(usize::from(*address))?;
        Some(())
    };
    for (index, instruction) in program.instructions.iter_mut().enumerate() {
        match instruction {
            Instruction::LoopNext {
                body_start,
                loop_end,
            } if !added.contains(&index) => {
                short(body_start)?;
                short(loop_end)?;
            }
            Instruction::LogicalBlockStart { end_pc, .. }
            | Instruction::AllOfNext { end_pc, .. }
            | Instruction::AnyOfNext { end_pc, .. } => short(end_pc)?,
            _ => {}
        }
    }
    for params in &mut program.instruction_data.loop_params[..loops] {
        short(&mut params.body_start)?;
        short(&mut params.loop_end)?;
    }
    for params in &mut program.instruction_data.comprehension_begin_params {
        short(&mut params.body_start)?;
        short(&mut params.comprehension_end)?;
    }
    for rule in &mut program.rule_infos {
        for address in Arc::make_mut(&mut rule.definitions).iter_mut().flatten() {
            *address = long(*address)?;
        }
        for address in rule.destructuring_blocks.iter_mut().flatten() {
            *address = long(*address)?;
        }
    }
    for address in program.entry_points.values_mut() {
        *address = usize::from(*moved.get(*address)?);
    }
    program.main_entry_point = long(program.main_entry_point)?;
    Some(())
}

/// Which of [`builtins::operators`] looks at the operands, and where they are.
fn arithmetic(instruction: &Instruction) -> Option<(u16, u8, u8)> {
    use Instruction as I;
    match *instruction {
        I::Add { left, right, .. } | I::Mul { left, right, .. } => Some((0, left, right)),
        I::Sub { left, right, .. } => Some((1, left, right)),
        I::Div { left, right, .. } => Some((2, left, right)),
        I::Mod { left, right, .. } => Some((3, left, right)),
        _ => None,
    }
}

/// Where an instruction may come after another than the one before it.
fn targets(program: &Program) -> BTreeSet<usize> {
    let mut targets = BTreeSet::new();
    for instruction in &program.instructions {
        match *instruction {
            Instruction::LoopNext {
                body_start,
                loop_end,
            } => targets.extend([body_start, loop_end]),
            Instruction::LogicalBlockStart { end_pc, .. }
            | Instruction::AllOfNext { end_pc, .. }
            | Instruction::AnyOfNext { end_pc, .. } => {
                targets.insert(end_pc);
            }
            _ => {}
        }
    }
    for params in &program.instruction_data.loop_params {
        targets.extend([params.body_start, params.loop_end]);
    }
    for params in &program.instruction_data.comprehension_begin_params {
        targets.extend([params.body_start, params.comprehension_end]);
    }
    targets.into_iter().map(usize::from).collect()
}

/// Follows which registers hold something for sure, past an instruction and its guards. A rule's body
/// begins with an instruction that forgets all of them, as everything does that is not straight on.
fn define(defined: &mut BTreeSet<u8>, instruction: &Instruction, program: &Program) {
    use Instruction as I;
    let data = &program.instruction_data;
    let (register, is_defined) = match *instruction {
        I::Load { dest, literal_idx } => {
            let literal = program.literals.get(usize::from(literal_idx));
            (dest, literal.is_some_and(|it| *it != Value::Undefined))
        }
        I::LoadTrue { dest }
        | I::LoadFalse { dest }
        | I::LoadNull { dest }
        | I::LoadBool { dest, .. }
        | I::Move { dest, .. }
        | I::Not { dest, .. }
        | I::Ne { dest, .. }
        | I::Lt { dest, .. }
        | I::Le { dest, .. }
        | I::Gt { dest, .. }
        | I::Ge { dest, .. }
        | I::Contains { dest, .. } => (dest, true),
        I::Guard {
            register,
            mode: GuardMode::NotUndefined | GuardMode::Condition,
        } => (register, true),
        I::LoadInput { dest }
        | I::LoadData { dest }
        | I::Eq { dest, .. }
        | I::IndexLiteral { dest, .. }
        | I::Index { dest, .. }
        | I::CallRule { dest, .. } => (dest, false),
        I::ChainedIndex { params_index } => {
            match data.chained_index_params.get(usize::from(params_index)) {
                Some(params) => (params.dest, false),
                None => return defined.clear(),
            }
        }
        I::BuiltinCall { params_index } => {
            match data.builtin_call_params.get(usize::from(params_index)) {
                Some(params) => (params.dest, false),
                None => return defined.clear(),
            }
        }
        I::FunctionCall { params_index } => {
            match data.function_call_params.get(usize::from(params_index)) {
                Some(params) => (params.dest, false),
                None => return defined.clear(),
            }
        }
        I::ArrayCreate { params_index } => {
            match data.array_create_params.get(usize::from(params_index)) {
                Some(params) => (params.dest, false),
                None => return defined.clear(),
            }
        }
        _ => return defined.clear(),
    };
    if is_defined {
        defined.insert(register);
    } else {
        defined.remove(&register);
    }
}

fn must_be_defined(instruction: &Instruction, data: &InstructionData) -> Vec<u8> {
    use Instruction as I;
    match *instruction {
        I::Move { src, .. } => vec![src],
        I::Add { left, right, .. }
        | I::Sub { left, right, .. }
        | I::Mul { left, right, .. }
        | I::Div { left, right, .. }
        | I::Mod { left, right, .. }
        // Not `Eq`: OPA keeps `not x == y` together.
        | I::Ne { left, right, .. }
        | I::Lt { left, right, .. }
        | I::Le { left, right, .. }
        | I::Gt { left, right, .. }
        | I::Ge { left, right, .. } => vec![left, right],
        I::Contains {
            collection, value, ..
        } => vec![collection, value],
        I::SetAdd { value, .. } => vec![value],
        I::ObjectSet { key, value, .. } => vec![key, value],
        I::ComprehensionYield { value_reg, key_reg } => {
            [Some(value_reg), key_reg].into_iter().flatten().collect()
        }
        I::BuiltinCall { params_index } => data
            .builtin_call_params
            .get(usize::from(params_index))
            .map(|call| call.args[..call.arg_count().min(call.args.len())].to_vec())
            .unwrap_or_default(),
        I::FunctionCall { params_index } => data
            .function_call_params
            .get(usize::from(params_index))
            .map(|call| call.args[..call.arg_count().min(call.args.len())].to_vec())
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use regorus::{
        Engine, Value,
        languages::rego::compiler::Compiler,
        rvm::{RegoVM, vm::VmError},
    };

    use super::*;
    use crate::error::EvaluationError;

    const HELPERS: &str = "package a
free(_) := 7
same(a) := a
one := input.one
";

    fn run(program: &Arc<Program>, input: &str) -> Result<Value, VmError> {
        let mut machine = RegoVM::new();
        machine.load_program(Arc::clone(program));
        machine.set_input(Value::from_json_str(input).unwrap());
        machine.execute_entry_point_by_index(0)
    }

    /// What `x` is for this input; `-` when it is undefined.
    fn answer(program: &Arc<Program>, input: &str) -> String {
        builtins::begin();
        let answer = run(program, input).unwrap();
        assert_eq!(builtins::fault().map(|fault| fault.to_string()), None);
        match answer {
            Value::Undefined => "-".to_owned(),
            value => serde_json::to_string(&value).unwrap(),
        }
    }

    fn compiled(rules: &str) -> Arc<Program> {
        let mut engine = Engine::new();
        engine
            .add_policy("a.rego".into(), format!("{HELPERS}{rules}"))
            .unwrap();
        let policy = engine.compile_with_entrypoint(&"data.a.x".into()).unwrap();
        Compiler::compile_from_policy(&policy, &["data.a.x"]).unwrap()
    }

    /// Rules, and what OPA 1.22 says of each for [`INPUTS`].
    const CASES: &[(&str, [&str; 2])] = &[
        ("x if { k := input.one }", ["-", "true"]),
        ("x if { k := count(input.text) }", ["-", "true"]),
        ("x if { k := one }", ["-", "true"]),
        ("x if { free(input.one) == 7 }", ["-", "true"]),
        ("x := free(input.one)", ["-", "7"]),
        ("x := same(input.one)", ["-", "1"]),
        ("x := 1 if { k := input.one } else := 2", ["2", "1"]),
        ("x := 1 if { k := [input.one] }", ["-", "1"]),
        ("x if { k := input.one; not k == 2 }", ["-", "true"]),
        ("x := [v | v := input.one]", ["[]", "[1]"]),
        ("x := {1 | k := input.one}", ["[]", "[1]"]),
        ("x := [input.one | true]", ["[]", "[1]"]),
        (
            r#"x := {k: input.one | some k in ["a"]}"#,
            ["{}", r#"{"a":1}"#],
        ),
        ("x contains input.one", ["[]", "[1]"]),
        (
            r#"x contains v if { some i in input.list; v := sprintf("%s %d", [i, input.one]) }"#,
            ["[]", r#"["a 1","b 1"]"#],
        ),
        (
            "x := [v | some i in input.list; k := input.one; v := [i, k]]",
            ["[]", r#"[["a",1],["b",1]]"#],
        ),
        (
            "x := [v | some i in input.list; v := [k | k := input.one]]",
            ["[[],[]]", "[[1],[1]]"],
        ),
        (
            "x := [i | some i in input.list; n := count([k | k := input.one]); n == 0]",
            [r#"["a","b"]"#, "[]"],
        ),
        (
            "x := [i | some i in input.list; count([1 | some j in input.list; k := input.one; j != k]) == 2]",
            ["[]", r#"["a","b"]"#],
        ),
        (
            "x := [i | some i in input.list; count({k | k := input.one; k != 1}) == 0]",
            [r#"["a","b"]"#, r#"["a","b"]"#],
        ),
        (
            "x if { every i in input.list { k := input.one; i != k } }",
            ["-", "true"],
        ),
        (
            r#"x if { some i in input.list; i == "b"; k := input.one }"#,
            ["-", "true"],
        ),
        (
            "x := [i | some i in input.list; v := [j | some j in input.list; free(input.one) == 7; j != i]; count(v) == 1]",
            ["[]", r#"["a","b"]"#],
        ),
        (
            "x := [i | some i in input.list; count([1 | input.one == 1]) == 0]",
            ["[\"a\",\"b\"]", "[]"],
        ),
        ("x if not input.one", ["true", "-"]),
        ("x if not input.one == 2", ["true", "true"]),
        ("x if not input.one != 1", ["-", "true"]),
        ("x if not input.one in [2]", ["-", "true"]),
        ("x if not 2 in input.list", ["true", "true"]),
        ("x if not free(input.one) == 8", ["-", "true"]),
        (r#"x if not startswith(input.text, "b")"#, ["-", "true"]),
        ("x if not one > 1", ["-", "true"]),
        (
            r#"x if { t := input.list; not "c" in t }"#,
            ["true", "true"],
        ),
        ("x if input.one != input.text", ["-", "true"]),
        ("x if { k := input.none }", ["-", "true"]),
        ("x := input.none", ["-", "null"]),
        (r#"x := object.get(input, "one", 5)"#, ["5", "1"]),
        ("x if { [a, b] := input.list; a != b }", ["true", "true"]),
        (r#"x := a if { {"k": a} := {"k": input.one} }"#, ["-", "1"]),
    ];
    const INPUTS: [&str; 2] = [
        r#"{"list": ["a", "b"]}"#,
        r#"{"list": ["a", "b"], "one": 1, "text": "abc", "none": null}"#,
    ];

    #[test]
    fn what_is_undefined_ends_a_body_as_in_opa() {
        for (rules, expected) in CASES {
            let guarded = Arc::new(insert(&compiled(rules)).unwrap());
            let answers = INPUTS.map(|input| answer(&guarded, input));
            assert_eq!(answers, *expected, "{rules}");
        }
    }

    /// Values of different types have an order; functions and operators that have an answer give it.
    const ORDERED: &[(&str, [&str; 2])] = &[
        ("x if { input.text > 5 }", ["-", "true"]),
        ("x if { input.none < 5 }", ["-", "true"]),
        ("x if { not input.one > input.text }", ["-", "true"]),
        ("x if { input.list > input.text }", ["-", "true"]),
        ("x if { some v in input.list; v > 5 }", ["true", "true"]),
        ("x if { max(input.list) == \"b\" }", ["true", "true"]),
        ("x if { max([]) }", ["-", "-"]),
        ("x if { not max([]) }", ["true", "true"]),
        ("x := object.get(input, \"none\", 7)", ["7", "null"]),
        ("x := count(input.list) - 1", ["1", "1"]),
        ("x := {\"a\", \"b\"} - {\"b\"}", ["[\"a\"]", "[\"a\"]"]),
        ("x := 7 % 4", ["3", "3"]),
        ("x := 7 / 2", ["3.5", "3.5"]),
        ("x if { input.none }", ["-", "true"]),
        ("x if { not input.none }", ["true", "-"]),
    ];

    /// Rules that cannot be computed for the second input.
    const FAILING: &[&str] = &[
        r#"x if { sprintf("%d EUR", [input.one / 2]) == "" }"#,
        r#"x if { sprintf("%1000d", [input.one]) == "" }"#,
        r#"x if { sprintf("%²d", [input.one]) == "" }"#,
        r#"x if { not startswith(input.one, "x") }"#,
        r#"x if { some text in ["9", input.text]; to_number(text) > 5 }"#,
        r#"x if { time.parse_rfc3339_ns(input.text) > 5 }"#,
        "x if { input.text + 1 > 5 }",
        "x if { input.one * input.text > 5 }",
        "x if { input.one / (input.one - 1) > 5 }",
        "x if { input.one % (input.one - 1) > 5 }",
        "x if { input.one % 0.5 > 5 }",
        "x if { not input.none - 1 > 5 }",
        "x := [v | v := input.text + 1]",
        r#"x := object.get(input.one, "a", 5)"#,
        "x if { every v in [input.text] { v + 1 > 0 } }",
        "half(n) := n / 2\nx if { half(input.text) > 1 }",
    ];

    /// Rules that make much out of little.
    const BOMBS: &[&str] = &[
        r#"a := concat("", [input.long, input.long])
b := concat("", [a, a])
x := concat("", [b, b])"#,
        r#"x := replace(input.long, "a", input.long)"#,
        r#"x := replace(input.long, "", input.long)"#,
        r#"x := concat(input.long, ["", "", "", "", ""])"#,
        r#"x := sprintf(replace(input.long, "a", "%9d"), input.many)"#,
        "x := [upper(input.long) | some i in input.many; some j in input.many]",
    ];

    #[test]
    fn values_of_all_types_have_an_order_as_in_opa() {
        for (rules, expected) in ORDERED {
            let guarded = Arc::new(insert(&compiled(rules)).unwrap());
            assert_eq!(
                INPUTS.map(|input| answer(&guarded, input)),
                *expected,
                "{rules}"
            );
        }
    }

    #[test]
    fn what_cannot_be_computed_has_no_answer() {
        for rules in FAILING {
            let guarded = Arc::new(insert(&compiled(rules)).unwrap());
            let [_, input] = INPUTS;
            builtins::begin();
            let _ = run(&guarded, input);
            let fault = builtins::fault();
            assert!(
                matches!(fault, Some(EvaluationError::Failed { .. })),
                "{rules}: {fault:?}"
            );
        }
    }

    #[test]
    fn what_makes_much_out_of_little_is_ended() {
        let long = "a".repeat(300_000);
        let many = vec![0; 60];
        let input = serde_json::json!({ "long": long, "many": many }).to_string();
        for rules in BOMBS {
            let guarded = Arc::new(insert(&compiled(rules)).unwrap());
            builtins::begin();
            let answer = run(&guarded, &input);
            let fault = builtins::fault();
            assert!(
                matches!(fault, Some(EvaluationError::Budget { .. })),
                "{rules}: {fault:?}"
            );
            assert!(answer.is_err(), "it goes on: {rules}");
        }
    }

    #[test]
    fn what_holds_something_for_sure_needs_no_guard() {
        let guards = |rules: &str| {
            let (old, new) = (compiled(rules), insert(&compiled(rules)).unwrap());
            new.instructions.len() - old.instructions.len()
        };
        let (once, again) = ("a := input.one", "b := a; c := b; [a, b, c] != [c, b, a]");
        let one = guards(&format!("x if {{ {once} }}"));
        assert!(one > 0);
        // Of the two lists, each may have an undefined element as far as is known.
        assert_eq!(guards(&format!("x if {{ {once}; {again} }}")), one + 2);
        // A turn of a loop looks at the element, and at `a` once more.
        let looped = format!("x if {{ {once}; some i in input.list; b := a; b != i }}");
        assert_eq!(guards(&looped), one + 2);
    }

    #[test]
    fn without_the_guards_it_would_not() {
        let differing = CASES
            .iter()
            .filter(|(rules, expected)| {
                let program = compiled(rules);
                INPUTS.map(|input| answer(&program, input)) != *expected
            })
            .count();
        assert!(differing > CASES.len() / 2, "{differing}");
    }
}
