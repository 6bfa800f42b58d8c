//! The rules about files that no compiler and no lint checks.
//!
//! `deny.toml` says which crate may depend on which; here is what may be named where *inside* a crate, so that the
//! invariants of ARCHITECTURE.md stay true without anyone remembering them: the engine is pure, etcd stays behind the
//! store, the transport stays at the edges. A rule that has to give way is changed here, in plain sight.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The most lines that a source file may have without a first line `// long: REASON`.
const MAX_LINES: usize = 500;

/// The most characters of a line of a document.
const MAX_COLUMNS: usize = 120;

/// The document that may have longer lines: measurements write into it.
const WIDE: &str = "docs/performance.md";

/// Folders that hold nothing written by hand.
const SKIPPED: &[&str] = &[".git", ".tools", "gen", "node_modules", "target"];

/// Words that may appear in the code of some files only: `within` is where the rule holds (a path's beginning) and
/// `except` where the words are at home. Tests may name anything.
struct Confined {
    words: &'static [&'static str],
    within: &'static str,
    except: &'static [&'static str],
    reason: &'static str,
}

const CONFINED: &[Confined] = &[
    Confined {
        words: &["etcd_client"],
        within: "",
        except: &["server/src/store/etcd", "tests/"],
        reason: "etcd is behind the store: nothing else knows which store it is",
    },
    Confined {
        words: &["redb"],
        within: "",
        except: &["server/src/store/embedded", "tests/"],
        reason: "redb is behind the store: nothing else knows which store it is",
    },
    Confined {
        words: &["tonic"],
        within: "server/src/",
        except: &["server/src/grpc", "server/src/execute", "server/src/peers", "server/src/store/etcd"],
        reason: "the transport stays at the manager's edges: what it serves, what it dials for Execute, its peers, etcd",
    },
    Confined {
        words: &["tonic", "tonic_types", "tonic_prost"],
        within: "cli/src/",
        except: &["cli/src/client", "cli/src/demo", "cli/src/error.rs"],
        reason: "an operator's commands meet the transport in one module; the demo is a caller of its own",
    },
    Confined {
        words: &["tonic"],
        within: "client/rust/src/",
        except: &["client/rust/src/transport"],
        reason: "the SDK speaks to the manager in one module, so that a change of transport changes one module",
    },
    Confined {
        words: &["cofferdam_proto", "prost", "prost_types", "tonic"],
        within: "core/",
        except: &["core/src/wire"],
        reason: "the engine has domain types; the wire's types are converted in core/src/wire.rs",
    },
    Confined {
        words: &["tokio", "rand", "SystemTime", "Instant", "std::env", "std::fs", "std::net", "std::process"],
        within: "core/src/",
        except: &[],
        reason: "the engine is pure: no runtime, no clock, no randomness, no I/O",
    },
    Confined {
        words: &["std::sync::atomic", "std::thread", "std::thread_local"],
        within: "core/src/",
        except: &["core/src/sync"],
        reason: "model checkers bring their own: the engine takes its atomics and thread-locals from core/src/sync.rs",
    },
    Confined {
        words: &["SystemTime"],
        within: "client/rust/src/",
        except: &["client/rust/src/runtime"],
        reason: "breakers, leases and deadlines go by a clock that nobody sets; what a policy says by the time of day is translated once",
    },
];

/// The bugs of other libraries of this kind that ours is tested for: T1 to T44, each with one test at least that is named
/// after it (`t07_...`, or `t07_t13_...`) and says in its comment where the bug was seen.
const KNOWN_BUGS: std::ops::RangeInclusive<u8> = 1..=44;

type Complaints = Vec<String>;

fn long_file(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    let reason = text.lines().next().and_then(|line| line.strip_prefix("// long: "));
    match reason {
        None if lines > MAX_LINES => {
            Some(format!("{path}: {lines} lines, more than {MAX_LINES}: split it, or begin it with `// long: REASON`"))
        }
        Some(_) if lines <= MAX_LINES => Some(format!("{path}: {lines} lines need no `// long:`: take it out")),
        _ => None,
    }
}

fn mod_file(path: &str) -> Option<String> {
    path.ends_with("/mod.rs").then(|| format!("{path}: `foo.rs` beside `foo/`, never `mod.rs`"))
}

fn unfinished(path: &str, text: &str) -> Complaints {
    let marks = [["TO", "DO"], ["FIX", "ME"], ["X", "XX"]].map(|halves| halves.concat());
    let found = |line: &&str| marks.iter().any(|mark| contains_word(line, mark));
    text.lines().filter(found).map(|line| format!("{path}: finish it or file an issue: {}", line.trim())).collect()
}

fn confined(path: &str, text: &str) -> Complaints {
    let mut complaints = Complaints::new();
    for rule in CONFINED.iter().filter(|rule| path.starts_with(rule.within)) {
        if is_test(path) || rule.except.iter().any(|home| path.starts_with(home)) {
            continue;
        }
        for word in rule.words.iter().filter(|word| code(text).any(|line| contains_word(line, word))) {
            complaints.push(format!("{path}: names `{word}`, but {}", rule.reason));
        }
    }
    complaints
}

fn broken_links(root: &Path, path: &str, text: &str) -> Complaints {
    let folder = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '<']));
    local
        .filter_map(|target| target.split('#').next())
        .filter(|target| !root.join(folder).join(target).exists())
        .map(|target| format!("{path}: links to {target}, which does not exist"))
        .collect()
}

/// The lines of a document that are too long. Those of tables and code cannot be broken, nor can one that is a single word,
/// such as a link.
fn wide_prose(path: &str, text: &str) -> Complaints {
    let mut is_code = false;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        let line = line.trim();
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        let is_prose = !is_fence && !is_code && !line.starts_with('|');
        is_prose && line.contains(' ')
    });
    let wide = lines.filter(|(_, line)| line.chars().count() > MAX_COLUMNS);
    wide.map(|(index, _)| format!("{path}:{}: longer than {MAX_COLUMNS} characters: break it", index + 1)).collect()
}

/// The known bugs that the tests in `text` are named after, with what a test that names no source is to be told.
fn known_bugs(path: &str, text: &str) -> (Vec<u8>, Complaints) {
    let (mut bugs, mut complaints, mut names_source) = (Vec::new(), Complaints::new(), false);
    for line in text.lines().map(str::trim_start) {
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        let numbers: Vec<u8> = name.into_iter().flat_map(numbers_of).collect();
        if !numbers.is_empty() && !names_source {
            complaints.push(format!("{path}: say in the comment where the bug was seen, as https://...: {line}"));
        }
        bugs.extend(numbers);
        // What stands right above a test: its comment and its attributes.
        names_source = match line {
            _ if line.starts_with("///") => names_source || line.contains("https://"),
            _ => names_source && line.starts_with("#["),
        };
    }
    (bugs, complaints)
}

/// The numbers that a test's name begins with: 7 and 13 of `t07_t13_racing_callers`.
fn numbers_of(name: &str) -> impl Iterator<Item = u8> {
    let number = |part: &str| part.strip_prefix('t').filter(|digits| digits.len() == 2)?.parse().ok();
    name.split('_').map_while(number)
}

/// The lines of `text` that are code outside tests: no comments, and nothing from an inline `#[cfg(test)] mod` on.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod ") && pair[1].ends_with('{')
    });
    let end = tests.unwrap_or(lines.len());
    lines.into_iter().take(end).map(|line| line.split("//").next().unwrap_or(line))
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/benches/")
}

/// Whether `line` holds `word` with no letter, digit or underscore on either side.
fn contains_word(line: &str, word: &str) -> bool {
    let outside = |other: Option<char>| !other.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word)
        .any(|(at, _)| outside(line[..at].chars().next_back()) && outside(line[at + word.len()..].chars().next()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file with one of `extensions` below `folder`, its path relative to the root, with its text.
fn files(folder: &Path, extensions: &[&str]) -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(current)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_symlink() || SKIPPED.contains(&&*name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|own| extensions.iter().any(|&wanted| own == wanted)) {
                let relative = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                found.push((relative, fs::read_to_string(&path)?));
            }
        }
    }
    Ok(found)
}

#[test]
fn sources_keep_the_rules() {
    let sources = files(&root(), &["rs", "proto"]).unwrap();
    assert!(sources.iter().any(|(path, _)| path == "tests/tidy.rs"), "the sources were not found");
    let complaints: Complaints = sources
        .iter()
        .flat_map(|(path, text)| {
            let whole_file = long_file(path, text).into_iter().chain(mod_file(path));
            whole_file.chain(unfinished(path, text)).chain(confined(path, text))
        })
        .collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_known_bug_has_a_test_that_says_where_it_was_seen() {
    let sources = files(&root(), &["rs"]).unwrap();
    let (bugs, complaints): (Vec<_>, Vec<_>) = sources.iter().map(|(path, text)| known_bugs(path, text)).unzip();
    let (tested, mut complaints) = (bugs.concat(), complaints.concat());
    let missing = KNOWN_BUGS.filter(|bug| !tested.contains(bug));
    complaints.extend(missing.map(|bug| format!("no test is named after T{bug}")));
    complaints.extend(tested.iter().filter(|bug| !KNOWN_BUGS.contains(bug)).map(|bug| format!("there is no T{bug}")));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn documents_link_to_what_exists() {
    let root = root();
    let documents = files(&root, &["md"]).unwrap();
    let complaints: Complaints = documents.iter().flat_map(|(path, text)| broken_links(&root, path, text)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn documents_have_lines_that_can_be_read() {
    let documents = files(&root(), &["md"]).unwrap();
    let narrow = documents.iter().filter(|(path, _)| path != WIDE);
    let complaints: Complaints = narrow.flat_map(|(path, text)| wide_prose(path, text)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_long_file_needs_a_reason_and_a_short_one_none() {
    let long = "line\n".repeat(MAX_LINES + 1);
    assert!(long_file("a.rs", &long).is_some());
    assert!(long_file("a.rs", &format!("// long: one table\n{long}")).is_none());
    assert!(long_file("a.rs", "// long: one table\n").is_some());
    assert!(long_file("a.rs", "line\n").is_none());
}

#[test]
fn words_are_confined_to_their_homes() {
    let line = "use etcd_client::Client;\n";
    assert_eq!(confined("server/src/registry.rs", line).len(), 1);
    assert!(confined("server/src/store/etcd.rs", line).is_empty());
    assert!(confined("server/src/store/etcd/watch.rs", line).is_empty());
    assert!(confined("server/src/registry/tests.rs", line).is_empty());
    assert!(confined("server/src/registry.rs", "// as etcd_client does\n").is_empty());
    assert!(confined("server/src/registry.rs", "let my_etcd_client2 = 1;\n").is_empty());
    assert!(confined("server/src/registry.rs", "#[cfg(test)]\nmod tests {\nuse etcd_client::Client;\n").is_empty());
    assert_eq!(confined("server/src/registry.rs", "#[cfg(test)]\nmod tests;\nuse etcd_client::Client;\n").len(), 1);
    assert_eq!(confined("core/src/retry.rs", "let now = std::time::Instant::now();\n").len(), 1);
    assert_eq!(confined("core/src/retry.rs", "use cofferdam_proto::v1;\n").len(), 1);
    assert!(confined("core/src/wire/policy.rs", "use cofferdam_proto::v1;\n").is_empty());
}

#[test]
fn a_known_bugs_test_needs_its_source() {
    let test = |comment: &str, name: &str| format!("fn other() {{}}\n{comment}#[test]\nasync fn {name}() {{}}\n");
    let found = |text: String| known_bugs("a.rs", &text);
    let source = "/// Seen in <https://example.org/1>.\n";
    assert_eq!(found(test(source, "t07_t13_racing")), (vec![7, 13], vec![]));
    assert_eq!(found(test("/// Seen somewhere.\n", "t07_racing")).1.len(), 1);
    assert_eq!(found(format!("{source}fn helper() {{}}\n{}", test("", "t07_racing"))).1.len(), 1);
    assert_eq!(found(test("", "two_racing_t07")), (vec![], vec![]));
}

#[test]
fn other_rules_can_fail() {
    assert!(mod_file("core/src/retry/mod.rs").is_some());
    assert!(mod_file("core/src/retry/model.rs").is_none());
    assert_eq!(unfinished("a.rs", &format!("// {}: later\n", ["TO", "DO"].concat())).len(), 1);
    let links = "[a](tests/tidy.rs) [b](https://example.org/x) [c](#here) [d](tests/gone.rs#x)";
    assert_eq!(broken_links(&root(), "README.md", links).len(), 1);
    let long = "a ".repeat(61);
    assert_eq!(
        wide_prose("a.md", &format!("short\n{long}\n```sh\n{long}\n```\n| {long} |\n{}\n", "a".repeat(121))).len(),
        1
    );
}

/// Every row of the systems that came before names tests that exist, or says what it waits for.
#[test]
fn every_row_of_the_acceptance_list_names_tests_that_exist() {
    let table = fs::read_to_string(root().join("docs/acceptance.md")).unwrap();
    let sources = files(&root(), &["rs"]).unwrap();
    let is_there = |name: &str| sources.iter().any(|(_, text)| text.contains(&format!("fn {name}(")));
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split('|').map(str::trim).collect())
        .filter(|cells: &Vec<_>| cells.len() == 5 && cells[1].starts_with(|c: char| ('A'..='E').contains(&c)))
        .collect();
    let expected: Vec<_> = [('A', 9), ('B', 14), ('C', 23), ('D', 13), ('E', 15)]
        .into_iter()
        .flat_map(|(list, count)| (1..=count).map(move |row| format!("{list}{row}")))
        .collect();
    assert_eq!(rows.iter().map(|cells| cells[1]).collect::<Vec<_>>(), expected);
    for cells in rows {
        let named: Vec<_> = cells[3].split('`').skip(1).step_by(2).filter(|name| !name.contains(' ')).collect();
        let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
        assert!(missing.is_empty(), "{}: there is no test {missing:?}", cells[1]);
        let waits = ["waits for", "this table", "have tests of their own"].iter().any(|words| cells[3].contains(words));
        assert!(waits || !named.is_empty(), "{} names no test", cells[1]);
        let is_borne = named.is_empty() || named.iter().any(|name| bears(name, cells[1]));
        assert!(is_borne, "no test of {} bears its number: {named:?}", cells[1]);
    }
}

/// Whether the name of a test has the number of a row among its words, such as `c12_e6_the_four_fallbacks`, or is of a range
/// of them, such as `c01_to_c09_the_nine_calls`.
fn bears(name: &str, row: &str) -> bool {
    let number = |word: &str| {
        let list = word.chars().next().filter(|list| ('a'..='e').contains(list))?;
        Some((list, word[1..].parse::<u32>().ok()?))
    };
    let Some(row) = number(&row.to_lowercase()) else { return false };
    let words: Vec<&str> = name.split('_').collect();
    let is_within = |range: &[&str]| match range {
        [first, "to", last] => number(first) <= Some(row) && Some(row) <= number(last) && number(first).is_some(),
        _ => false,
    };
    words.iter().any(|word| number(word) == Some(row)) || words.windows(3).any(is_within)
}

#[test]
fn a_row_is_borne_by_its_number_and_no_other() {
    assert!(bears("c12_e6_e15_the_four_fallbacks", "E6") && bears("t40_e5_an_expired_answer", "E5"));
    assert!(bears("c01_to_c09_the_nine_calls", "C7") && bears("c01_to_c09_the_nine_calls", "C9"));
    assert!(!bears("c01_to_c09_the_nine_calls", "C10") && !bears("c01_to_c09_the_nine_calls", "B5"));
    assert!(!bears("b10_health_rolls_up", "B1") && !bears("the_four_fallbacks", "E6") && !bears("to_a", "A1"));
}
