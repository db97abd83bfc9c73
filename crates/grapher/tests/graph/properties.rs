//! Properties that hold for every tree.

use std::collections::{BTreeSet, HashMap};

use grapher::{GoalRequest, NodeStates, Obstacle};
use proptest::prelude::*;

use crate::fixture::Tree;

/// Trees of up to eight specs that require one another, some toolchain packages, some recorded builds.
fn trees() -> impl Strategy<Value = String> {
    let spec = (
        proptest::collection::vec(0usize..10, 0..3),
        proptest::collection::vec(0usize..8, 0..2),
        any::<bool>(),
    );
    let specs = proptest::collection::vec(spec, 1..8);
    let toolchain = proptest::collection::vec(0usize..10, 0..4);
    (specs, toolchain).prop_map(|(specs, toolchain)| {
        let mut text = String::new();
        for (index, (build, run, built)) in specs.iter().enumerate() {
            text += &format!("spec s{index}\n");
            for needed in build {
                text += &format!("br s{needed}\n");
            }
            text += &format!("pkg s{index}\n");
            for needed in run {
                text += &format!("requires s{needed}\n");
            }
            if *built {
                text += &format!("built 1\nhas s{index}\nprovides lib{index}.so\n");
            }
        }
        for package in toolchain {
            text += &format!("core s{package}-1\n");
        }
        text
    })
}

proptest! {
    #[test]
    fn the_order_of_the_input_does_not_matter(text in trees(), seed in any::<u64>()) {
        let tree = Tree::parse(&text);
        let mut shuffled = tree.clone();
        let key = |index: usize| (index as u64 + 1).wrapping_mul(seed | 1).rotate_left(17);
        let shuffle = |length: usize| {
            let mut order: Vec<usize> = (0..length).collect();
            order.sort_by_key(|index| key(*index));
            order
        };
        shuffled.document.specs =
            shuffle(tree.document.specs.len()).into_iter().map(|i| tree.document.specs[i].clone()).collect();
        shuffled.externals =
            shuffle(tree.externals.len()).into_iter().map(|i| tree.externals[i].clone()).collect();
        shuffled.outputs = shuffle(tree.outputs.len()).into_iter().map(|i| tree.outputs[i].clone()).collect();
        let (a, b) = (tree.graph(), shuffled.graph());
        let goals: BTreeSet<String> = a.specs().map(str::to_owned).collect();
        prop_assert_eq!(a.document(&NodeStates::new(), &goals), b.document(&NodeStates::new(), &goals));
        prop_assert_eq!(a.order(&goals), b.order(&goals));
    }

    #[test]
    fn prerequisites_come_first_and_every_spec_has_its_place(text in trees()) {
        let graph = Tree::parse(&text).graph();
        let goals = graph.select(&GoalRequest::default()).unwrap();
        let order = graph.order(&goals);
        prop_assert_eq!(order.steps.len(), goals.len());
        let places: HashMap<&str, usize> =
            order.steps.iter().enumerate().map(|(place, step)| (step.spec.as_str(), place)).collect();
        for step in &order.steps {
            let hindered = step.obstacles().iter().any(|o| matches!(o, Obstacle::Cycle(_) | Obstacle::Blocked { .. }));
            for prerequisite in step.prerequisites() {
                prop_assert!(
                    hindered || places[prerequisite.spec.as_str()] < places[step.spec.as_str()],
                    "{} before {}\n{}", step.spec, prerequisite.spec, text
                );
                let first = &prerequisite.via[0];
                prop_assert_eq!(&first.from, &step.spec);
                for pair in prerequisite.via.windows(2) {
                    prop_assert_eq!(pair[0].to.to_string(), pair[1].from.clone());
                }
            }
        }
        for (requirement, _) in graph.specs().flat_map(|spec| graph.providers(spec).to_vec()) {
            prop_assert!(text.contains(&requirement.to_string()));
        }
    }
}
