//! Random values of random types: there and back, and refused by the schema and the reader alike.

use serde_json::{Value, json};
use wasmtime::component::Val;
use wasmtime::component::types::Type;

use super::fixture::{BUDGET, NODES, Random};
use super::values::echoing;
use crate::reflect::Answer;
use crate::reflect::answers::to_json;

/// Random types as text: what `check` above tries one by one, in all combinations.
struct Types {
    random: Random,
    definitions: String,
    count: usize,
}

impl Types {
    fn any(&mut self, depth: usize) -> String {
        const LEAVES: &[&str] = &[
            "bool",
            "s8",
            "u8",
            "s16",
            "u16",
            "s32",
            "u32",
            "s64",
            "u64",
            "f32",
            "f64",
            "char",
            "string",
            "(list u8)",
            "(list u8 3)",
        ];
        if depth == 0 {
            return self.random.pick(LEAVES).to_owned();
        }
        let inner = |types: &mut Types| types.any(depth - 1);
        match self.random.below(14) {
            0 => self.random.pick(LEAVES).to_owned(),
            1 | 2 => format!("(list {})", inner(self)),
            3 => format!("(list {} {})", inner(self), 1 + self.random.below(3)),
            4 => format!("(tuple {} {})", inner(self), inner(self)),
            5 | 6 => format!("(option {})", inner(self)),
            7 => {
                let key = self.random.pick(&["string", "u64", "char", "bool", "s8"]);
                format!("(map {key} {})", inner(self))
            }
            8 => format!("(result {} (error {}))", inner(self), inner(self)),
            9 => self.random.pick(&["(result)", "(result u8)", "(result (error string))"]).into(),
            10 | 11 => {
                let fields = ["a", "b-c", "d"].map(|f| format!("(field {f:?} {})", inner(self)));
                self.named(&format!("(record {})", fields.concat()))
            }
            12 => {
                let cases = ["a", "b-c"].map(|c| format!("(case {c:?} {})", inner(self)));
                self.named(&format!("(variant {} (case \"none\"))", cases.concat()))
            }
            _ => {
                let n = self.random.pick(&[1, 2, 8, 9, 16, 17, 32, 33, 70]);
                let names: String = (0..n).map(|n| format!("\"n{n}\" ")).collect();
                let kind = self.random.pick(&["flags", "enum"]);
                // The engine takes 32 flags at most.
                match kind == "flags" && n > 32 {
                    true => self.named("(flags \"a\" \"b\")"),
                    false => self.named(&format!("({kind} {names})")),
                }
            }
        }
    }

    fn named(&mut self, ty: &str) -> String {
        self.count += 1;
        let n = self.count;
        self.definitions
            .push_str(&format!("(type $t{n}' {ty}) (export $t{n} \"t{n}\" (type $t{n}'))\n"));
        format!("$t{n}")
    }
}

/// A random value of a type.
fn random_val(ty: &Type, random: &mut Random) -> Val {
    let string = |random: &mut Random| {
        let chars = (0..random.below(4)).map(|_| random.pick(&['a', '/', '~', 'é', '🦀', '\0']));
        chars.collect::<String>()
    };
    let many = |ty: &Type, n: usize, random: &mut Random| {
        (0..n).map(|_| random_val(ty, random)).collect::<Vec<_>>()
    };
    match ty {
        Type::Bool => Val::Bool(random.below(2) == 0),
        Type::S8 => Val::S8(random.next() as i8),
        Type::U8 => Val::U8(random.next() as u8),
        Type::S16 => Val::S16(random.next() as i16),
        Type::U16 => Val::U16(random.next() as u16),
        Type::S32 => Val::S32(random.next() as i32),
        Type::U32 => Val::U32(random.next() as u32),
        Type::S64 => Val::S64(random.next() as i64 >> random.below(64)),
        Type::U64 => Val::U64(random.next() >> random.below(64)),
        Type::Float32 => Val::Float32(f32::from_bits(random.next() as u32)),
        Type::Float64 => Val::Float64(f64::from_bits(random.next())),
        Type::Char => Val::Char(random.pick(&['a', '\0', '"', 'é', '\u{10ffff}'])),
        Type::String => Val::String(string(random)),
        Type::List(list) => {
            let n = random.below(4);
            Val::List(many(&list.ty(), n, random))
        }
        Type::FixedLengthList(list) => {
            Val::FixedLengthList(many(&list.ty(), list.len() as usize, random))
        }
        Type::Map(map) => {
            let mut entries: Vec<(Val, Val)> = Vec::new();
            for _ in 0..random.below(4) {
                let entry = (random_val(&map.key(), random), random_val(&map.value(), random));
                if entries.iter().all(|(key, _)| *key != entry.0) {
                    entries.push(entry);
                }
            }
            Val::Map(entries)
        }
        Type::Record(record) => {
            let fields = record.fields();
            Val::Record(fields.map(|f| (f.name.to_owned(), random_val(&f.ty, random))).collect())
        }
        Type::Tuple(tuple) => Val::Tuple(tuple.types().map(|ty| random_val(&ty, random)).collect()),
        Type::Variant(variant) => {
            let case = variant.cases().nth(random.below(variant.cases().len())).unwrap();
            let payload = case.ty.map(|ty| Box::new(random_val(&ty, random)));
            Val::Variant(case.name.to_owned(), payload)
        }
        Type::Enum(names) => {
            Val::Enum(names.names().nth(random.below(names.names().len())).unwrap().to_owned())
        }
        Type::Flags(flags) => {
            let set = flags.names().filter(|_| random.below(2) == 0);
            Val::Flags(set.map(str::to_owned).collect())
        }
        Type::Option(option) => {
            Val::Option((random.below(3) > 0).then(|| Box::new(random_val(&option.ty(), random))))
        }
        Type::Result(result) => {
            let mut payload = |ty: Option<Type>| ty.map(|ty| Box::new(random_val(&ty, random)));
            Val::Result(match payload(Some(Type::Bool)).as_deref() {
                Some(Val::Bool(true)) => Ok(payload(result.ok())),
                _ => Err(payload(result.err())),
            })
        }
        other => panic!("{other:?} is not offered"),
    }
}

/// Changes one thing somewhere in a JSON value.
fn mutate(json: &mut Value, random: &mut Random) {
    let go_on = random.below(3) > 0;
    match json {
        Value::Array(items) if go_on && !items.is_empty() => {
            let at = random.below(items.len());
            return mutate(&mut items[at], random);
        }
        Value::Object(fields) if go_on && !fields.is_empty() => {
            let at = random.below(fields.len());
            return mutate(fields.values_mut().nth(at).unwrap(), random);
        }
        Value::Array(items) if random.below(2) == 0 => {
            match items.pop() {
                Some(last) if random.below(2) == 0 => items.extend([last.clone(), last]),
                Some(_) => {}
                None => items.push(json!("a")),
            }
            return;
        }
        Value::Object(fields) if random.below(2) == 0 => {
            let key = fields.keys().next().cloned();
            match key.filter(|_| random.below(2) == 0) {
                Some(key) => drop(fields.shift_remove(&key)),
                None => drop(fields.insert("other".into(), json!(1))),
            }
            return;
        }
        _ => {}
    }
    *json = match random.below(12) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(300),
        4 => json!(1.5),
        5 => json!(""),
        6 => json!("a"),
        7 => json!("12"),
        8 => json!("NaN"),
        9 => json!({}),
        10 => json!({ "some": json.take() }),
        _ => json!([json.take()]),
    };
}

#[tokio::test]
async fn random_values_of_random_types_go_there_and_back() {
    let (mut values, mut refusals, mut acceptances) = (0, 0, 0);
    for seed in 0..40 {
        let mut types = Types { random: Random(seed), definitions: String::new(), count: 0 };
        let ty = types.any(1 + seed as usize % 4);
        let (loaded, element) = echoing(&types.definitions, &ty);
        let tool = loaded.tool("f");
        assert_eq!(tool.unsupported, None, "{ty}");
        let input = jsonschema::draft202012::new(&tool.input_schema).unwrap();
        let output = jsonschema::draft202012::new(tool.output_schema.as_ref().unwrap()).unwrap();
        assert!(jsonschema::draft202012::meta::is_valid(&tool.input_schema), "{ty}");

        let mut random = Random(seed ^ 0xa5a5);
        for _ in 0..25 {
            let vals: Vec<Val> = (0..3).map(|_| random_val(&element, &mut random)).collect();
            // Through the text as well: what a caller sends and a guest's answer becomes.
            let list = Type::List(match &tool.params[0].1 {
                Type::List(list) => list.clone(),
                other => panic!("{other:?}"),
            });
            let json = to_json(Val::List(vals.clone()), &list, &mut { BUDGET }).unwrap();
            let json: Value = serde_json::from_str(&json.to_string()).unwrap();
            let arguments = json!({ "a": json });
            assert!(input.is_valid(&arguments), "{ty}: {arguments}\n{}", tool.input_schema);
            assert!(output.is_valid(&json), "{ty}: {json}");
            let back = tool.arguments(&arguments, NODES).unwrap_or_else(|p| panic!("{ty}: {p}"));
            assert_eq!(back, [Val::List(vals)], "{ty}: {json}");
            let answer = loaded.call_with(tool, &back, BUDGET).await;
            assert_eq!(answer, Answer::Value(Some(json)), "{ty}");
            values += 3;

            // The schema and the reader refuse the same.
            let mut changed = arguments;
            mutate(&mut changed["a"], &mut random);
            let read = tool.arguments(&changed, NODES);
            match (&read, input.is_valid(&changed)) {
                (Ok(_), true) => acceptances += 1,
                (Err(_), false) => refusals += 1,
                // What a schema cannot say.
                (Err(problem), true) if problem.message.contains("base64") => {}
                (read, _) => panic!("{ty}: {changed}: {read:?}\n{}", tool.input_schema),
            }
        }
    }
    assert!(values == 3000 && refusals > 300 && acceptances > 100, "{refusals} {acceptances}");
}
