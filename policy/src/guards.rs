//! What is undefined ends a rule's body, as it does in OPA.
//!
//! The machine of regorus 0.14 goes on where OPA does not: a variable may be bound to what is
//! undefined (`x := input.none`), a function is called with it, and a set takes it in. A condition
//! that somebody wrote to be met would then count as met. So a guard is put before each instruction
//! that must not see an undefined value, and every address moves along. (`_ := x` leaves no
//! instruction to guard: write `x` or give it a name.)
//!
//! For the same reason a call within `not` ends the body when an argument is undefined: OPA takes
//! the arguments of calls (and of `in`, `!=`, `<`, `+` …) out of the negation, and so do we.

use std::{collections::BTreeSet, sync::Arc};

use regorus::{
    Value,
    rvm::{
        Instruction, Program,
        instructions::{GuardMode, InstructionData, LoopMode, LoopStartParams},
    },
};

use crate::error::BundleError;

/// The program with its guards.
pub(crate) fn insert(program: &Program) -> Result<Arc<Program>, BundleError> {
    guarded(program)
        .map(Arc::new)
        .ok_or_else(|| BundleError::Rego {
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
    // New address of each old one: that of the first guard before it, so that a jump meets the
    // guards and nothing comes between an instruction and its predecessor.
    let mut moved = Vec::with_capacity(old.instructions.len() + 1);
    let mut open = Vec::new();
    let mut added = BTreeSet::new();
    for (index, instruction) in old.instructions.iter().enumerate() {
        moved.push(u16::try_from(new.instructions.len()).ok()?);
        for register in must_be_defined(instruction, &old.instruction_data) {
            new.instructions.push(Instruction::Guard {
                register,
                mode: GuardMode::NotUndefined,
            });
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
    use regorus::{Engine, Value, languages::rego::compiler::Compiler, rvm::RegoVM};

    use super::*;

    const HELPERS: &str = "package a
free(_) := 7
same(a) := a
one := input.one
";

    /// What `x` is for this input; `-` when it is undefined.
    fn answer(program: &Arc<Program>, input: &str) -> String {
        let mut machine = RegoVM::new();
        machine.load_program(Arc::clone(program));
        machine.set_input(Value::from_json_str(input).unwrap());
        match machine.execute_entry_point_by_index(0).unwrap() {
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
        (r#"x := object.get(input.one, "a", 5)"#, ["-", "-"]),
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
            let guarded = insert(&compiled(rules)).unwrap();
            let answers = INPUTS.map(|input| answer(&guarded, input));
            assert_eq!(answers, *expected, "{rules}");
        }
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
