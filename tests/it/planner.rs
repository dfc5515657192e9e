//! The memory planner: nothing that lives at the same time overlaps, ever, and little is wasted.

use anyfold::gpu::Root;
use anyfold::graph::plan::{Life, place};
use proptest::prelude::*;

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let one = (1u64..100_000, 0usize..200, 0usize..60, 0u8..20);
    prop::collection::vec(one, 1..80).prop_map(|all| {
        let life = |(i, (bytes, from, length, kept)): (usize, (u64, usize, usize, u8))| Life {
            root: Root(i as u32),
            bytes,
            from: if kept == 0 { 0 } else { from },
            to: if kept == 0 { usize::MAX } else { from + length },
        };
        all.into_iter().enumerate().map(life).collect()
    })
}

proptest! {
    #[test]
    fn no_two_live_tensors_overlap(lives in lives(), max_arena in 100_000u64..400_000) {
        let plan = place(&lives, 256, max_arena).expect("every tensor fits an arena");
        for (i, a) in lives.iter().enumerate() {
            let at = plan.places[&a.root];
            prop_assert!(at.bytes >= a.bytes && at.offset.is_multiple_of(256));
            prop_assert!(at.offset + at.bytes <= plan.arenas[at.arena]);
            prop_assert!(plan.arenas[at.arena] <= max_arena);
            for b in &lives[..i] {
                let other = plan.places[&b.root];
                let together = a.from <= b.to && b.from <= a.to;
                let apart = at.arena != other.arena || at.offset + at.bytes <= other.offset || other.offset + other.bytes <= at.offset;
                prop_assert!(!together || apart, "{a:?} at {at:?} overlaps {b:?} at {other:?}");
            }
        }
        prop_assert!(plan.live_bytes <= plan.peak_bytes);
    }
}

#[test]
fn a_tensor_beyond_a_buffer_is_refused_with_advice() {
    let life = Life { root: Root(0), bytes: 1000, from: 0, to: 1 };
    let refused = place(&[life], 256, 512).expect_err("does not fit").to_string();
    assert!(refused.contains("1024") && refused.contains("512") && refused.contains("smaller crop"), "{refused}");
}
