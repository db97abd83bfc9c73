//! graph.json and graph.dot.

use std::collections::BTreeSet;

use grapher::{GraphDocument, NodeState, NodeStates};

use crate::fixture::Tree;

const TREE: &str = "spec a\nbr b >= 1\nbr sh\nbr gone\nspec b\ncore sh-5";

#[test]
fn the_document_names_every_node_and_edge() {
    let mut tree = Tree::parse(TREE);
    tree.run_check = true;
    let graph = tree.graph();
    let states = NodeStates::from([("b".to_owned(), NodeState::UpToDate)]);
    let document = graph.document(&states, &BTreeSet::from(["a".to_owned()]));
    let nodes: Vec<String> = document.nodes.iter().map(|n| format!("{} {:?}", n.name, n.state)).collect();
    assert_eq!(
        nodes,
        [
            "goal:PackagesToBuild Meta",
            "build:a Build",
            "build:b UpToDate",
            "test:a Build",
            "test:b UpToDate",
            "run:a-1-1.x86_64 Meta",
            "run:b-1-1.x86_64 Meta",
            "toolchain:sh-0~deb.5-1.x86_64 Cached",
            "unresolved:gone Unresolved",
        ]
    );
    let edges: Vec<String> = document
        .edges
        .iter()
        .map(|edge| {
            let requirement = edge.requirement.as_ref().map(|r| format!(" [{r}]")).unwrap_or_default();
            format!("{} -> {}{requirement}", edge.from, edge.to)
        })
        .collect();
    assert_eq!(
        edges,
        [
            "build:a -> run:b-1-1.x86_64 [b >= 1]",
            "build:a -> toolchain:sh-0~deb.5-1.x86_64 [sh]",
            "build:a -> unresolved:gone [gone]",
            "goal:PackagesToBuild -> build:a",
            "goal:PackagesToBuild -> run:a-1-1.x86_64",
            "goal:PackagesToBuild -> test:a",
            "run:a-1-1.x86_64 -> build:a",
            "run:b-1-1.x86_64 -> build:b",
            "test:a -> build:a",
            "test:b -> build:b",
        ]
    );
    assert_eq!(document.obstacles.keys().collect::<Vec<_>>(), ["a"]);
    let json = serde_json::to_string(&document).unwrap();
    assert_eq!(serde_json::from_str::<GraphDocument>(&json).unwrap(), document);
}

#[test]
fn dot_has_azures_form_and_colours() {
    let graph = Tree::parse("spec a\nbr (b or c)\nbr b\nspec b").graph();
    let dot = graph.to_dot(&NodeStates::new());
    let expected = r#"strict digraph dependency_graph {
  "ALL-GOAL<Meta> (ID=0,TYPE=Goal,STATE=Meta)" [fillcolor=deeppink, style=filled];
  "a-1-1-BUILD<Build> (ID=1,TYPE=Build,STATE=Build)" [fillcolor=gold, style=filled, SRPM="a-1-1.src.rpm"];
  "b-1-1-BUILD<Build> (ID=2,TYPE=Build,STATE=Build)" [fillcolor=gold, style=filled, SRPM="b-1-1.src.rpm"];
  "a-1-1-RUN<Meta> (ID=3,TYPE=Run,STATE=Meta)" [fillcolor=aquamarine, style=filled, SRPM="a-1-1.src.rpm"];
  "b-1-1-RUN<Meta> (ID=4,TYPE=Run,STATE=Meta)" [fillcolor=aquamarine, style=filled, SRPM="b-1-1.src.rpm"];
  "a-1-1-BUILD<Build> (ID=1,TYPE=Build,STATE=Build)" -> "b-1-1-RUN<Meta> (ID=4,TYPE=Run,STATE=Meta)" [label="(b or c), b"];
"#;
    assert!(dot.starts_with(expected), "{dot}");
    assert!(dot.ends_with("}\n"));
}
