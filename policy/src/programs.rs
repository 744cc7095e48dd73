//! The programs of a bundle: all its rules, and per operation and kind of actor what is left of them.
//!
//! Most rules are about one operation, or about software only, and say so first: their definitions
//! fail at the first comparison for everything else. What fails for every input of an operation and a
//! kind of actor is left out of a copy of the program, which is made when the first such input comes.
//! Pairs for which the same is left out share one.
//!
//! A rule that is the same for all of them (who is granted an operation, a set whose every definition
//! fails) is that value and has no definitions any more.
//!
//! Nothing is left out but what cannot have an effect. A definition is read from its start as long as
//! each instruction is one that only looks at the input or at `data`, into loops too when the body ends
//! with them: no function is called before the condition that fails, nor a rule that calls one, so
//! nothing can fail there in another way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use contracts::{ActorKind, Operation};
use regorus::{
    Value,
    rvm::{
        Instruction, Program,
        instructions::{GuardMode, LiteralOrRegister, LoopMode},
        program::{RuleInfo, RuleType},
    },
};
use strum::VariantArray;

/// What is known of the rules.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Learned {
    /// Rule and definition: those that fail.
    failing: BTreeSet<(usize, usize)>,
    /// The rules that are always the same.
    values: BTreeMap<usize, Value>,
}

/// What is known of an input before it is looked at.
#[derive(Clone, Copy)]
struct Known {
    operation: Operation,
    kind: ActorKind,
}

/// The programs, each with what belongs to it.
pub(crate) struct Programs<T> {
    data: Value,
    harmless: BTreeSet<usize>,
    whole: Prepared<T>,
    /// By operation and kind of actor.
    parts: Vec<OnceLock<Arc<Prepared<T>>>>,
    distinct: Mutex<BTreeMap<Learned, Arc<Prepared<T>>>>,
}

/// A program and what belongs to it.
pub(crate) struct Prepared<T> {
    pub(crate) program: Arc<Program>,
    pub(crate) with: T,
}

impl<T: Default> Prepared<T> {
    fn new(program: Program) -> Self {
        Self {
            program: Arc::new(program),
            with: T::default(),
        }
    }
}

impl<T: Default> Programs<T> {
    /// Of a program that runs with this `data`.
    pub(crate) fn new(program: Program, data: Value) -> Self {
        let pairs = Operation::VARIANTS.len() * ActorKind::VARIANTS.len();
        Self {
            data,
            harmless: harmless(&program),
            whole: Prepared::new(light(program)),
            parts: (0..pairs).map(|_| OnceLock::new()).collect(),
            distinct: Mutex::default(),
        }
    }

    /// All rules.
    pub(crate) fn whole(&self) -> &Prepared<T> {
        &self.whole
    }

    pub(crate) fn data(&self) -> &Value {
        &self.data
    }

    /// The rules that can say something about this input.
    pub(crate) fn of(&self, input: &Value) -> &Prepared<T> {
        let Some(known) = Known::of(input) else {
            return &self.whole;
        };
        let place = known.operation as usize * ActorKind::VARIANTS.len() + known.kind as usize;
        match self.parts.get(place) {
            Some(part) => part.get_or_init(|| self.part(known)),
            None => &self.whole,
        }
    }

    fn part(&self, known: Known) -> Arc<Prepared<T>> {
        let learned = learn(&self.whole.program, &self.harmless, &self.data, known);
        let mut distinct = self.distinct.lock().unwrap_or_else(PoisonError::into_inner);
        let part = distinct.entry(learned).or_insert_with_key(|learned| {
            Arc::new(Prepared::new(without(&self.whole.program, learned)))
        });
        Arc::clone(part)
    }
}

impl Known {
    fn of(input: &Value) -> Option<Self> {
        let part = |value: &Value, key: &str| {
            let fields = value.as_object().ok()?;
            fields.get(&Value::from(key)).cloned()
        };
        let operation = part(input, "operation")?;
        let kind = part(&part(input, "actor")?, "kind")?;
        Some(Self {
            operation: operation.as_string().ok()?.parse().ok()?,
            kind: kind.as_string().ok()?.parse().ok()?,
        })
    }
}

/// Without what a run does not need. The machine copies a rule's description each time that it is
/// asked for.
fn light(mut program: Program) -> Program {
    program.sources = Vec::new();
    program.instruction_spans = Vec::new();
    for rule in &mut program.rule_infos {
        rule.name = String::new();
        if let Some(function) = &mut rule.function_info {
            function.param_names = Vec::new();
        }
        // What is missing in these lists is no `else`, and takes nothing apart.
        if !rule.else_bodies.iter().flatten().any(|is_else| *is_else) {
            rule.else_bodies = Vec::new();
        }
        if !rule.destructuring_blocks.iter().any(Option::is_some) {
            rule.destructuring_blocks = Vec::new();
        }
    }
    program
}

fn without(program: &Program, learned: &Learned) -> Program {
    let mut new = program.clone();
    for (index, rule) in new.rule_infos.iter_mut().enumerate() {
        // A rule without definitions is its default.
        let value = learned.values.get(&index);
        let literal = value.and_then(|value| literal(&mut new.literals, value));
        let stays = |at: usize| literal.is_none() && !learned.failing.contains(&(index, at));
        if literal.is_some() {
            rule.default_literal_index = literal;
        }
        let definitions = Arc::make_mut(&mut rule.definitions);
        retain(definitions, stays);
        retain(&mut rule.else_bodies, stays);
        retain(&mut rule.destructuring_blocks, stays);
    }
    new
}

/// Where it stands among them; `None` when there is no place left.
fn literal(literals: &mut Vec<Value>, value: &Value) -> Option<u16> {
    let place = literals.iter().position(|one| one == value);
    let place = u16::try_from(place.unwrap_or(literals.len())).ok()?;
    if usize::from(place) == literals.len() {
        literals.push(value.clone());
    }
    Some(place)
}

fn retain<T>(all: &mut Vec<T>, stays: impl Fn(usize) -> bool) {
    let mut places = 0..;
    all.retain(|_| places.next().is_some_and(&stays));
}

/// The rules that call no function, nor a rule that does.
fn harmless(program: &Program) -> BTreeSet<usize> {
    let mut harmless = BTreeSet::new();
    loop {
        let rules = program.rule_infos.iter().enumerate();
        let more: Vec<_> = rules
            .filter(|(index, rule)| {
                !harmless.contains(index)
                    && rule.destructuring_blocks.iter().all(Option::is_none)
                    && rule.definitions.iter().flatten().all(|body| {
                        body_of(program, *body).all(|instruction| match instruction {
                            Instruction::CallRule { rule_index, .. } => {
                                harmless.contains(&usize::from(*rule_index))
                            }
                            Instruction::BuiltinCall { .. }
                            | Instruction::FunctionCall { .. }
                            | Instruction::HostAwait { .. }
                            | Instruction::VirtualDataDocumentLookup { .. } => false,
                            _ => true,
                        })
                    })
            })
            .map(|(index, _)| index)
            .collect();
        if more.is_empty() {
            return harmless;
        }
        harmless.extend(more);
    }
}

/// The instructions of the body that begins there, up to where the next one begins.
fn body_of(program: &Program, body: u32) -> impl Iterator<Item = &Instruction> {
    let begin = usize::try_from(body).unwrap_or(usize::MAX);
    let instructions = program.instructions.iter().skip(begin).enumerate();
    instructions
        .take_while(|(at, instruction)| {
            *at == 0 || !matches!(instruction, Instruction::RuleInit { .. })
        })
        .map(|(_, instruction)| instruction)
}

/// What can be said of the rules for every such input.
fn learn(program: &Program, harmless: &BTreeSet<usize>, data: &Value, known: Known) -> Learned {
    let mut reader = Reader {
        program,
        data,
        operation: Value::from(known.operation.to_string()),
        kind: Value::from(known.kind.to_string()),
        values: BTreeMap::new(),
        harmless,
    };
    // A rule whose value is known makes more of them fail.
    loop {
        let mut more = BTreeMap::new();
        let mut failing = BTreeSet::new();
        for (index, rule) in program.rule_infos.iter().enumerate() {
            if rule.function_info.is_some() || reader.values.contains_key(&index) {
                continue;
            }
            let fails = reader.failing(rule);
            if let Some(value) = reader.value(rule, &fails) {
                more.insert(index, value);
                continue;
            }
            // What the last definition left in the result's register would be the result.
            let stays = (rule.rule_type == RuleType::Complete).then(|| rule.definitions.len() - 1);
            let goes = fails.into_iter().filter(|at| Some(*at) != stays);
            failing.extend(goes.map(|at| (index, at)));
        }
        if more.is_empty() {
            return Learned {
                failing,
                values: reader.values,
            };
        }
        reader.values.extend(more);
    }
}

/// Reads the beginning of a definition.
struct Reader<'a> {
    program: &'a Program,
    data: &'a Value,
    operation: Value,
    kind: Value,
    /// The rules whose value is known.
    values: BTreeMap<usize, Value>,
    /// Rules that cannot fail but in being undefined.
    harmless: &'a BTreeSet<usize>,
}

/// What is known of a register.
#[derive(Clone)]
enum Seen {
    Nothing,
    Input,
    Actor,
    Value(Value),
}

impl Seen {
    /// Whether a loop over it has no turn: it is known, and empty or no collection.
    fn is_nothing_to_turn_over(&self) -> bool {
        match self {
            Self::Value(Value::Array(all)) => all.is_empty(),
            Self::Value(Value::Set(all)) => all.is_empty(),
            Self::Value(Value::Object(all)) => all.is_empty(),
            Self::Value(_) => true,
            Self::Nothing | Self::Input | Self::Actor => false,
        }
    }
}

/// What can be said of a body.
enum Read {
    /// It fails before it does anything.
    Fails,
    /// It answers this, or nothing when that is undefined.
    Is(Value),
    Unknown,
}

impl Reader<'_> {
    fn failing(&self, rule: &RuleInfo) -> Vec<usize> {
        let takes_apart = |at: usize| matches!(rule.destructuring_blocks.get(at), Some(Some(_)));
        rule.definitions
            .iter()
            .enumerate()
            .filter(|(at, bodies)| {
                let fails = |body: &u32| matches!(self.read(*body), Read::Fails);
                !takes_apart(*at) && bodies.iter().all(fails)
            })
            .map(|(at, _)| at)
            .collect()
    }

    /// What the rule is, some of whose definitions fail, when that can be told.
    fn value(&self, rule: &RuleInfo, failing: &[usize]) -> Option<Value> {
        if failing.len() == rule.definitions.len() {
            return Some(match rule.rule_type {
                RuleType::Complete => self.default(rule),
                RuleType::PartialSet => Value::new_set(),
                RuleType::PartialObject => Value::new_object(),
            });
        }
        let [bodies] = rule.definitions.as_slice() else {
            return None;
        };
        let takes_apart = rule.destructuring_blocks.iter().any(Option::is_some);
        match (bodies.as_slice(), &rule.rule_type) {
            ([body], RuleType::Complete) if !takes_apart => match self.read(*body) {
                Read::Is(Value::Undefined) => Some(self.default(rule)),
                Read::Is(value) => Some(value),
                Read::Fails | Read::Unknown => None,
            },
            _ => None,
        }
    }

    fn default(&self, rule: &RuleInfo) -> Value {
        let default = rule.default_literal_index;
        let default = default.and_then(|at| self.program.literals.get(usize::from(at)));
        default.cloned().unwrap_or(Value::Undefined)
    }

    /// What becomes of the body that begins there.
    fn read(&self, body: u32) -> Read {
        use Instruction as I;
        let Ok(body) = usize::try_from(body) else {
            return Read::Unknown;
        };
        let mut registers = BTreeMap::new();
        let mut result = None;
        // Whether it gets as far as here.
        let mut sure = true;
        let mut turns = 0;
        let instructions = self.program.instructions.iter().skip(body);
        for instruction in instructions {
            let seen = |register: u8| registers.get(&register).cloned().unwrap_or(Seen::Nothing);
            let (register, value) = match *instruction {
                I::RuleInit { result_reg, .. } => {
                    result = Some(result_reg);
                    (result_reg, Seen::Nothing)
                }
                I::RuleReturn {} => {
                    return match result.map(seen) {
                        Some(Seen::Value(value)) if sure => Read::Is(value),
                        _ => Read::Unknown,
                    };
                }
                I::Load { dest, literal_idx } => (dest, self.literal(literal_idx)),
                I::LoadInput { dest } => (dest, Seen::Input),
                I::LoadData { dest } => (dest, Seen::Value(self.data.clone())),
                I::Move { dest, src } => (dest, seen(src)),
                I::IndexLiteral {
                    dest,
                    container,
                    literal_idx,
                } => (dest, self.part(seen(container), &self.literal(literal_idx))),
                I::Index {
                    dest,
                    container,
                    key,
                } => (dest, self.part(seen(container), &seen(key))),
                I::ChainedIndex { params_index } => {
                    let chains = &self.program.instruction_data.chained_index_params;
                    let Some(chain) = chains.get(usize::from(params_index)) else {
                        return Read::Unknown;
                    };
                    let part =
                        chain
                            .path_components
                            .iter()
                            .fold(seen(chain.root), |whole, component| match *component {
                                LiteralOrRegister::Literal(at) => {
                                    self.part(whole, &self.literal(at))
                                }
                                LiteralOrRegister::Register(at) => self.part(whole, &seen(at)),
                            });
                    (chain.dest, part)
                }
                I::Eq { dest, left, right } => (dest, compared(seen(left), seen(right), true)),
                I::Ne { dest, left, right } => (dest, compared(seen(left), seen(right), false)),
                I::Not { dest, operand } => (dest, negated(&seen(operand))),
                I::Contains {
                    dest,
                    collection,
                    value,
                } => (dest, contained(&seen(collection), &seen(value))),
                I::CallRule { dest, rule_index } => {
                    let rule = usize::from(rule_index);
                    match self.values.get(&rule) {
                        Some(value) => (dest, Seen::Value(value.clone())),
                        None if self.harmless.contains(&rule) => (dest, Seen::Nothing),
                        None => return Read::Unknown,
                    }
                }
                I::LoopStart { params_index } if self.ends_the_body(params_index, turns) => {
                    let loops = &self.program.instruction_data.loop_params;
                    let collection = loops.get(usize::from(params_index));
                    if collection.is_some_and(|of| seen(of.collection).is_nothing_to_turn_over()) {
                        return Read::Fails;
                    }
                    sure = false;
                    // A later turn finds in the registers what an earlier one left there.
                    registers.clear();
                    turns += 1;
                    continue;
                }
                I::Guard { register, mode } => {
                    match seen(register) {
                        Seen::Value(value) if !passes(mode, &value) => return Read::Fails,
                        Seen::Value(_) => {}
                        _ => sure = false,
                    }
                    continue;
                }
                _ => return Read::Unknown,
            };
            registers.insert(register, value);
        }
        Read::Unknown
    }

    /// Whether nothing is left to do when each turn of this loop, which begins within so many others,
    /// has failed.
    fn ends_the_body(&self, loop_start: u16, within: usize) -> bool {
        let loops = &self.program.instruction_data.loop_params;
        let Some(params) = loops.get(usize::from(loop_start)) else {
            return false;
        };
        let next = self.program.instructions.get(usize::from(params.loop_end));
        params.mode == LoopMode::ForEach
            && match next {
                Some(Instruction::RuleReturn {}) => within == 0,
                Some(Instruction::LoopNext { .. }) => within > 0,
                _ => false,
            }
    }

    fn literal(&self, at: u16) -> Seen {
        let literal = self.program.literals.get(usize::from(at));
        literal.cloned().map_or(Seen::Nothing, Seen::Value)
    }

    fn part(&self, whole: Seen, key: &Seen) -> Seen {
        let Seen::Value(key) = key else {
            // There is nothing in what has no parts, whatever is looked for.
            return match whole.is_nothing_to_turn_over() {
                true => Seen::Value(Value::Undefined),
                false => Seen::Nothing,
            };
        };
        let name = key.as_string().map(AsRef::as_ref);
        match (whole, name) {
            (Seen::Value(whole), _) => Seen::Value(whole[key].clone()),
            (Seen::Input, Ok("operation")) => Seen::Value(self.operation.clone()),
            (Seen::Input, Ok("actor")) => Seen::Actor,
            (Seen::Actor, Ok("kind")) => Seen::Value(self.kind.clone()),
            _ => Seen::Nothing,
        }
    }
}

fn compared(left: Seen, right: Seen, equal: bool) -> Seen {
    match (left, right) {
        (Seen::Value(Value::Undefined), _) | (_, Seen::Value(Value::Undefined)) => {
            Seen::Value(Value::Undefined)
        }
        (Seen::Value(left), Seen::Value(right)) => {
            Seen::Value(Value::from((left == right) == equal))
        }
        _ => Seen::Nothing,
    }
}

fn negated(operand: &Seen) -> Seen {
    match operand {
        Seen::Value(value) => Seen::Value(Value::from(passes(GuardMode::Not, value))),
        _ => Seen::Nothing,
    }
}

fn contained(collection: &Seen, value: &Seen) -> Seen {
    let (Seen::Value(collection), Seen::Value(value)) = (collection, value) else {
        return Seen::Nothing;
    };
    Seen::Value(Value::from(match collection {
        Value::Set(all) => all.contains(value),
        Value::Array(all) => all.contains(value),
        Value::Object(all) => all.values().any(|one| one == value),
        _ => false,
    }))
}

fn passes(mode: GuardMode, value: &Value) -> bool {
    match (mode, value) {
        (GuardMode::Not, Value::Undefined) => true,
        (GuardMode::Not, Value::Bool(value)) => !value,
        (GuardMode::Not, _) | (GuardMode::Condition, Value::Undefined) => false,
        (GuardMode::Condition, Value::Bool(value)) => *value,
        (GuardMode::Condition, _) => true,
        (GuardMode::NotUndefined, value) => !matches!(value, Value::Undefined),
    }
}

#[cfg(test)]
mod tests {
    use regorus::{Engine, languages::rego::compiler::Compiler, rvm::RegoVM};
    use serde_json::json;

    use super::*;
    use crate::{builtins, guards};

    const HELPERS: &str = r#"package a
x contains "any"
closes if input.operation == "close"
software if input.actor.kind in data.software
default known := false
known if input.operation == "close"
either := 1 if input.operation == "close"
else := 2
list := input.list
nobody contains 1 if input.operation == "close"
nothing[i] := i if { input.operation == "close"; some i in input.list }
granted := data.grants[input.operation]
default fallen_back := "back"
fallen_back := data.limits[input.operation]
some_list := input.list if input.operation == "close"
number := to_number(input.text)
"#;

    /// Conditions, and whether a rule on them is left out where a person creates a ticket.
    const CASES: &[(&str, bool)] = &[
        (r#"input.operation == "close""#, true),
        (r#"input.operation == "create_ticket""#, false),
        (r#"input["operation"] != "create_ticket""#, true),
        (r#"input.operation in {"close", "triage"}"#, true),
        (r#"input.operation in {"close", "create_ticket"}"#, false),
        (r#"not input.operation in ["create_ticket"]"#, true),
        ("input.operation in data.closing", true),
        ("input.operation in data.creating", false),
        ("data.limits[input.operation]", true),
        (r#"input.actor.kind != "person""#, true),
        (r#"input.actor.kind == "person""#, false),
        (r#"input.actor.id == "close""#, false),
        (r#"input.body.operation == "close""#, false),
        ("closes", true),
        ("not closes", false),
        ("software", true),
        ("known", true),
        ("not known", false),
        ("either == 1", false),
        (r#"input.kill_switch; input.operation == "close""#, true),
        // What a rule is for all such inputs.
        (r#""dispatcher" in granted"#, false),
        (r#""billing" in granted"#, true),
        (r#"some role in granted; role == "billing""#, false),
        (r#"fallen_back == "back""#, false),
        (r#"fallen_back != "back""#, true),
        ("some one in nobody; one > input.number", true),
        ("some one in nothing; one > input.number", true),
        ("input.number; some one in nobody; one", true),
        ("some i in input.list; some one in nobody; one == i", true),
        ("some i in input.list; some_list[i]", true),
        ("some i in input.list; input.other[i]", false),
        ("every one in nobody { one > input.number }", false),
        // What is computed before may fail, and then there is no answer.
        (
            r#"to_number(input.text) > 5; input.operation == "close""#,
            false,
        ),
        (r#"input.hour.in_all + 1 > 5; closes"#, false),
        (
            r#"input.operation == "close"; to_number(input.text) > 5"#,
            true,
        ),
        (
            r#"some i in input.list; input.operation == "close"; i"#,
            false,
        ),
    ];

    /// A rule on these conditions, beside one that is always there.
    fn compiled(conditions: &str) -> Program {
        let rules = format!("{HELPERS}x contains \"this\" if {{ {conditions} }}\n");
        let mut engine = Engine::new();
        engine.add_policy("a.rego".into(), rules).unwrap();
        let policy = engine.compile_with_entrypoint(&"data.a.x".into()).unwrap();
        let program = Compiler::compile_from_policy(&policy, &["data.a.x"]).unwrap();
        guards::insert(&program).unwrap()
    }

    fn data() -> Value {
        let data = r#"{
            "closing": ["close"],
            "creating": ["create_ticket"],
            "software": ["agent", "workflow"],
            "limits": { "close": 1 },
            "grants": { "create_ticket": ["dispatcher"] }
        }"#;
        Value::from_json_str(data).unwrap()
    }

    #[test]
    fn what_fails_at_its_first_look_is_left_out_and_nothing_else() {
        let data = data();
        let known = Known {
            operation: Operation::CreateTicket,
            kind: ActorKind::Person,
        };
        for (conditions, expected) in CASES {
            let program = compiled(conditions);
            let rules = program.rule_infos.iter();
            let x = rules.enumerate().find(|(_, rule)| rule.name == "data.a.x");
            let (x, rule) = x.unwrap();
            assert_eq!(rule.definitions.len(), 2);
            let learned = learn(&program, &harmless(&program), &data, known);
            let failing = learned.failing.iter().filter(|(rule, _)| *rule == x);
            assert_eq!(failing.count(), usize::from(*expected), "{conditions}");
        }
    }

    /// What a program answers, or how it fails.
    fn answer(program: &Arc<Program>, input: &Value) -> String {
        let mut machine = RegoVM::new();
        machine.set_strict_builtin_errors(false);
        machine.load_program(Arc::clone(program));
        machine.set_data(data()).unwrap();
        machine.set_input(input.clone());
        builtins::begin();
        let answer = machine.execute_entry_point_by_index(0);
        format!("{answer:?} {:?}", builtins::fault())
    }

    /// Questions of each sort: about what the cases know, and about what they do not.
    fn questions() -> Vec<Value> {
        let mut all = vec![json!({})];
        let values: [(&str, &[serde_json::Value]); 7] = [
            (
                "operation",
                &[json!("create_ticket"), json!("close"), json!("triage")],
            ),
            (
                "actor",
                &[
                    json!({ "kind": "person", "id": "close" }),
                    json!({ "kind": "agent" }),
                ],
            ),
            ("list", &[json!(null), json!([]), json!(["close", 1])]),
            ("text", &[json!("7"), json!("x"), json!(9)]),
            ("hour", &[json!({ "in_all": 7 }), json!({ "in_all": "x" })]),
            ("kill_switch", &[json!(true), json!(false)]),
            ("other", &[json!({ "close": true }), json!([0, 1])]),
        ];
        for (name, values) in values {
            let with = |document: &serde_json::Value| {
                let document = document.clone();
                values.iter().map(move |value| {
                    let mut document = document.clone();
                    document[name] = value.clone();
                    document
                })
            };
            all = all.iter().flat_map(with).collect();
        }
        all.into_iter().map(Value::from).collect()
    }

    #[test]
    fn what_is_left_answers_as_the_whole_does() {
        let questions = questions();
        let definitions = |program: &Program| -> usize {
            let rules = program.rule_infos.iter();
            rules.map(|rule| rule.definitions.len()).sum()
        };
        let (mut fewer, mut answers) = (0, BTreeSet::new());
        for (conditions, _) in CASES {
            let programs: Programs<()> = Programs::new(compiled(conditions), data());
            let whole = &programs.whole().program;
            for input in &questions {
                let part = &programs.of(input).program;
                let expected = answer(whole, input);
                assert_eq!(answer(part, input), expected, "{conditions}: {input}");
                fewer += usize::from(definitions(part) < definitions(whole));
                answers.insert(expected);
            }
        }
        assert!(answers.len() > 1, "one answer to all: {answers:?}");
        assert!(fewer > CASES.len() * questions.len() / 2, "{fewer}");
    }

    #[test]
    fn names_are_those_of_the_input() {
        for operation in Operation::VARIANTS {
            let name = operation.to_string();
            assert_eq!(
                Value::from(name.as_str()),
                crate::values::of(operation).unwrap()
            );
            assert_eq!(name.parse::<Operation>().unwrap(), *operation);
        }
        for kind in ActorKind::VARIANTS {
            let name = kind.to_string();
            assert_eq!(Value::from(name.as_str()), crate::values::of(kind).unwrap());
            assert_eq!(name.parse::<ActorKind>().unwrap(), *kind);
        }
    }
}
