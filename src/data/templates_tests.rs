use super::*;
use crate::protein::structure::{ResidueAtoms, Site};

fn chain(id: &str, sequence: &str) -> Chain {
    let mut chain = Chain { id: id.into(), label_id: id.into(), has_full_sequence: true, ..Chain::default() };
    for (i, letter) in sequence.bytes().enumerate() {
        let mut atoms = ResidueAtoms::default();
        for slot in 0..5 {
            atoms.positions[slot] = [i as f32, slot as f32, 0.0];
            atoms.mask[slot] = 1.0;
        }
        chain.push(letter, Site::default(), atoms);
    }
    chain
}

fn hit(query: &str, start: i32, template: &str, first: i32) -> TemplateHit {
    let indices = |row: &str, start: i32| {
        let mut next = start - 1;
        row.bytes()
            .map(|b| {
                if b == b'-' {
                    -1
                } else {
                    next += 1;
                    next
                }
            })
            .collect::<Vec<i32>>()
    };
    let (indices_query, indices_hit) = (indices(query, start), indices(template, first));
    let aligned_cols = indices_query.iter().zip(&indices_hit).filter(|&(&q, &t)| q >= 0 && t >= 0).count();
    let (query, hit_sequence) = (query.to_string(), template.to_string());
    TemplateHit { index: 1, name: "1ABC_B x".into(), aligned_cols, sum_probs: Some(3.0), query, hit_sequence, indices_query, indices_hit }
}

const QUERY: &str = "MKTAYIAKQRQISFVKSHFSRQ";

#[test]
fn filters_are_alphafolds() {
    let rules = Rules::default();
    let judge = |hit: &TemplateHit| prefilter(QUERY, hit, "1abc", &rules);
    assert_eq!(judge(&hit("TAYIAKQRQISF", 2, "TAWIAKQRQLSF", 9)), Ok(()));
    assert_eq!(judge(&hit("TA", 2, "TA", 9)), Err(Reason::AlignRatio(2.0 / 22.0)));
    assert_eq!(judge(&hit(QUERY, 0, QUERY, 0)), Err(Reason::Duplicate(1.0)));
    assert_eq!(judge(&hit("TAYIA", 2, "TAYIA", 0)), Err(Reason::Length(5)));
    let own = Rules { own_entry: Some("1abc".into()), ..Rules::default() };
    assert_eq!(prefilter(QUERY, &hit("TAYIAKQRQISF", 2, "TAWIAKQRQLSF", 9), "1abc", &own), Err(Reason::OwnEntry));
    assert!(Rules { max_date: Some("2022-1-1".into()), ..Rules::default() }.check().is_err());
}

#[test]
fn names_are_entry_and_chain() {
    let both = |e: &str, c: &str| Some((e.to_string(), c.to_string()));
    assert_eq!(entry_and_chain("1ABC_Bj some"), both("1abc", "Bj"));
    assert_eq!(entry_and_chain("1ABC_."), both("1abc", "."));
    assert_eq!(entry_and_chain("PF03676.14 ; x"), None);
    assert_eq!(entry_and_chain("1ab"), None);
    assert_eq!(entry_and_chain("../x_A"), None);
}

#[test]
fn residues_land_in_the_querys_columns() {
    // The template lacks residue 4 of the query and has one more after 6.
    let hit = hit("TAYIA-KQRQISF", 2, "TA-LAGKQRQLSF", 11);
    let structure = Structure { chains: vec![chain("A", "GGGG"), chain("B", "PPTALAGKQRQLSFPP")], ..Structure::default() };
    let refuse: &Aligner = &|_, _| panic!("the sequence is in the file");
    let found = extract(QUERY, &hit, "1abc", "B", &structure, refuse).unwrap();
    assert_eq!(found.sequence, "--TA-LAKQRQLSF--------");
    assert_eq!((found.template.name.as_str(), found.realigned), ("1abc_B", false));
    assert_eq!(found.template.positions[2][1], [2.0, 1.0, 0.0]);
    assert_eq!(found.template.positions[7][0], [7.0, 0.0, 0.0]);
    assert_eq!(found.template.mask[4], [0.0; 37]);
    assert_eq!(found.template.aatype[4], 21);
    // Another chain has it, with an unknown residue.
    let structure = Structure { chains: vec![chain("C", "GTALXGKQRQLSF")], ..Structure::default() };
    assert_eq!(extract(QUERY, &hit, "1abc", "B", &structure, refuse).unwrap().template.name, "1abc_C");
}

#[test]
fn a_changed_sequence_is_aligned_again() {
    let hit = hit("TAYIAKQRQISFVKSHFSRQ", 2, "TAYIAKQRQISFVKSHFSRQ", 0);
    let file = |sequence: &str| Structure { chains: vec![chain("B", sequence)], ..Structure::default() };
    // One residue is another, one is missing, two stand before.
    let found = extract(QUERY, &hit, "1abc", "B", &file("GGTAWIAKQRQISFKSHFSRQ"), &align_by_identity).unwrap();
    assert!(found.realigned);
    assert_eq!(found.sequence, "--TAWIAKQRQISF-KSHFSRQ");
    assert_eq!(found.template.positions[2][0][0], 2.0);
    let other = extract(QUERY, &hit, "1abc", "B", &file("WWWWWWWWWWTAYIWWWWWWWW"), &align_by_identity).unwrap_err();
    assert!(matches!(&other, Reason::Sequence(s) if s.contains("differs")), "{other:?}");
    let two = Structure { chains: vec![chain("C", "WWWW"), chain("D", "WWWW")], ..Structure::default() };
    assert_eq!(extract(QUERY, &hit, "1abc", "B", &two, &align_by_identity).unwrap_err().to_string(), "1abc has no protein chain B");
}
