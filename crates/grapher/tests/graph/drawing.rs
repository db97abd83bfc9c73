//! Parts of the graph as pictures and for Graphviz.

use std::io::Write;
use std::process::{Command, Stdio};

use grapher::{Explorer, NodeState, NodeStates, Question, SubGraph};
use proptest::prelude::*;
use quick_xml::events::Event;

use crate::fixture::graph;
use crate::properties::trees;

/// A spec that forty others are built with, and that needs something from everywhere.
fn hub() -> String {
    let mut text =
        "spec hub\nbr \"tool\"\nbr cc\nbr <gone> >= 1&2\nspec \"tool\"\nbr base\nspec base\ncore cc-4\n"
            .to_owned();
    for number in 0..40 {
        text += &format!("spec user{number:02}\nbr hub >= 1\nbr base\n");
        if number % 2 == 1 {
            text += &format!("br user{:02}\n", number - 1);
        }
    }
    text
}

fn part(text: &str, question: &Question, depth: Option<usize>) -> SubGraph {
    let graph = graph(text);
    let states = NodeStates::from([("base".to_owned(), NodeState::UpToDate)]);
    let part = Explorer::new(&graph, &states).part(question, depth).unwrap();
    part.unwrap()
}

fn around(name: &str) -> Question {
    Question::Neighbourhood(vec![name.to_owned()])
}

/// Returns the texts of all elements of a kind; fails unless the whole is well-formed XML.
fn texts(svg: &str, element: &str) -> Vec<String> {
    let mut reader = quick_xml::Reader::from_str(svg);
    let (mut open, mut found) = (Vec::new(), Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                let name = start.name().as_ref().to_owned();
                start.attributes().for_each(|attribute| drop(attribute.unwrap()));
                if name == element {
                    found.push(String::new());
                }
                open.push(name);
            }
            Event::End(_) => drop(open.pop()),
            Event::Text(text) if open.last().is_some_and(|name| name == element) => {
                found.last_mut().unwrap().push_str(&text);
            }
            Event::GeneralRef(reference) if open.last().is_some_and(|name| name == element) => {
                let letter = match &*reference {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    other => panic!("{other}"),
                };
                found.last_mut().unwrap().push(letter);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty());
    found
}

/// Returns what Graphviz makes of it; fails where it cannot read it.
fn graphviz(dot: &str) -> Option<String> {
    let child = Command::new("dot")
        .arg("-Tplain")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("CI").is_none(), "Graphviz is missing");
        eprintln!("SKIPPED: Graphviz is missing");
        return None;
    };
    child.stdin.take().unwrap().write_all(dot.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{dot}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}\n{dot}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_busy_neighbourhood_is_cut_and_says_so() {
    let svg = part(&hub(), &around("hub"), Some(2)).to_svg();
    let labels = texts(&svg, "text");
    assert!(labels.contains(&"… and 16 more".to_owned()), "{labels:?}");
    assert_eq!(labels.iter().filter(|label| label.starts_with("user")).count(), 24);
    for wanted in ["hub: who needs it, and what it needs", "\"tool\"", "cc", "<gone> >= 1&2", "base"] {
        assert!(labels.contains(&wanted.to_owned()), "`{wanted}` is missing in {labels:?}");
    }
    assert!(labels.iter().any(|label| label.starts_with("Not drawn: 24 edges between others")), "{labels:?}");
    let tooltips = texts(&svg, "title");
    assert!(tooltips.contains(&"user00 → hub\nBuildRequires: hub >= 1".to_owned()), "{tooltips:?}");
    assert!(tooltips.contains(&"nothing provides <gone> >= 1&2".to_owned()), "{tooltips:?}");
    assert!(svg.contains("role=\"img\" aria-labelledby=\"title\">\n<title id=\"title\">hub: who"), "{svg}");
    for colour in ["gold", "forestgreen", "darkorchid", "crimson"] {
        assert!(svg.contains(&format!("fill=\"{colour}\"")), "{colour}");
    }
    assert!(!svg.contains("<script") && !svg.contains("href="), "self-contained");
}

#[test]
fn a_path_is_drawn_with_both_ends_marked() {
    let question = Question::Path("user01".to_owned(), "base".to_owned());
    let svg = part(&hub(), &question, None).to_svg();
    assert_eq!(texts(&svg, "text")[0], "How user01 comes to need base");
    assert_eq!(svg.matches("stroke=\"deeppink\"").count(), 2);
}

#[test]
fn graphviz_reads_parts_and_the_whole() {
    let text = hub();
    let dot = part(&text, &around("hub"), None).to_dot();
    assert!(dot.starts_with("strict digraph dependency_graph {\n"));
    let id = r#""hub-1-1-BUILD<Build> (ID=40,TYPE=Build,STATE=Build)" [fillcolor=gold, style=filled"#;
    assert!(dot.contains(id), "{dot}");
    let Some(plain) = graphviz(&dot) else { return };
    let count = |plain: &str, word: &str| plain.lines().filter(|line| line.starts_with(word)).count();
    // All forty, the hub, its tool, base, the compiler and what is missing.
    assert_eq!((count(&plain, "node "), count(&plain, "edge ")), (45, 40 * 2 + 20 + 4));
    let cycles = part("spec a\nbr b\nspec b\nbr a", &Question::Cycles, None).to_dot();
    assert_eq!(count(&graphviz(&cycles).unwrap(), "edge "), 2);
    let whole = graph(&text).to_dot(&NodeStates::new());
    assert!(count(&graphviz(&whole).unwrap(), "node ") > 80);
}

proptest! {
    /// Whatever the tree: well-formed, every node once or counted, the same for the same.
    #[test]
    fn every_part_can_be_drawn(text in trees(), depth in 0usize..4) {
        let graph = graph(&text);
        let states = NodeStates::new();
        let explorer = Explorer::new(&graph, &states);
        for question in graph.specs().map(around).chain([Question::Cycles]) {
            let part = explorer.part(&question, Some(depth)).unwrap().unwrap();
            let svg = part.to_svg();
            let labels = texts(&svg, "text");
            for node in part.nodes.iter().filter(|node| node.level.abs() <= 1) {
                prop_assert!(labels.contains(&node.member.label()), "{} in {svg}", node.name);
            }
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            prop_assert_eq!(&svg, &part.to_svg());
        }
    }
}
