//! The published sampling rules, counted over many draws; the compact form against AlphaFold's arrays.

use anyfold::data::alignment::{Alignment, Deletions};
use anyfold::data::draws::{Draws, Keyed, Purpose};
use anyfold::data::example::{Example, Labels, Template};
use anyfold::data::features::{FeatureConfig, Features, choose_templates, crop_range, make};
use anyfold::data::full::{Size, deletion_value, full};
use anyfold::data::ship;

/// An example of random rows, the query of which no other row repeats.
fn example(n_seq: usize, n_res: usize, n_templ: usize) -> Example {
    let draws = Keyed::new(99, 0);
    let kind = |i: usize, n: usize| draws.below(0, Purpose::Chain, i as u64, n) as u8;
    let aatype: Vec<u8> = (0..n_res).map(|i| kind(i, 20)).collect();
    let mut deletions = Deletions::default();
    let mut rows = aatype.clone();
    deletions.push_dense(&vec![0; n_res]);
    for row in 1..n_seq {
        rows.extend((0..n_res).map(|i| kind(row * n_res + i, 22)));
        deletions.push_dense(&(0..n_res).map(|i| u16::from(kind(row * n_res + i + 7, 9) == 0) * 3).collect::<Vec<_>>());
    }
    let (positions, mask) = (vec![[[1.5; 3]; 37]; n_res], vec![[1.0; 37]; n_res]);
    let template = |t: usize| Template {
        name: t.to_string(),
        aatype: aatype.clone(),
        positions: positions.clone(),
        mask: mask.clone(),
        ..Template::default()
    };
    Example {
        id: "example".into(),
        residue_index: (0..n_res as i32).collect(),
        alignment: Alignment { n_res, rows, deletions },
        templates: (0..n_templ).map(template).collect(),
        labels: Some(Labels { positions: positions.clone(), mask: mask.clone(), resolution: 2.0, is_distillation: false }),
        aatype,
    }
}

/// Whether a count is within four standard deviations of a binomial's mean.
fn is_share(count: usize, n: usize, p: f64) -> bool {
    let (mean, deviation) = (n as f64 * p, (n as f64 * p * (1.0 - p)).sqrt());
    (count as f64 - mean).abs() <= 4.0 * deviation
}

#[test]
fn crops_start_uniformly_when_clamped_and_early_when_not() {
    let n = 20_000;
    let starts = |clamped: bool| {
        (0..n).map(move |k| crop_range(13, 10, clamped, &Keyed::new(3, k))).inspect(|r| assert!(r.len() == 10 && r.end <= 13))
    };
    let count = |clamped: bool, start: usize| starts(clamped).filter(|r| r.start == start).count();
    for start in 0..4 {
        assert!(is_share(count(true, start), n as usize, 0.25), "clamped, start {start}");
        // x is uniform in 0..=3 and the start uniform in 0..=3-x: sum over x <= 3-start of 1/4 * 1/(4-x).
        let p: f64 = (0..=3 - start).map(|x| 0.25 / (4 - x) as f64).sum();
        assert!(is_share(count(false, start), n as usize, p), "unclamped, start {start}");
    }
    assert_eq!(crop_range(7, 10, false, &Keyed::new(0, 0)), 0..7);
}

#[test]
fn templates_are_a_random_few() {
    let config = FeatureConfig::training(64, 8, 8);
    let (n, total) = (20_000, 6);
    let mut by_count = [0; 5];
    let mut first = [0; 6];
    for k in 0..n {
        let chosen = choose_templates(total, &config, &Keyed::new(4, k));
        let mut distinct = chosen.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() == chosen.len() && chosen.iter().all(|&t| t < total));
        by_count[chosen.len()] += 1;
        chosen.first().inspect(|&&t| first[t] += 1);
    }
    // min(Uniform[0, 6], 4): 0, 1, 2, 3 once each in seven, 4 in the three that are left.
    for (count, p) in [1.0, 1.0, 1.0, 1.0, 3.0].iter().enumerate() {
        assert!(is_share(by_count[count], n as usize, p / 7.0), "{by_count:?}");
    }
    assert!(first.iter().all(|&f| is_share(f, n as usize, 1.0 / 7.0)), "{first:?}");
    assert_eq!(choose_templates(6, &FeatureConfig::prediction(512, 8, 4), &Keyed::new(4, 0)), [0, 1, 2, 3]);
}

#[test]
fn masking_replaces_as_published() {
    let example = example(400, 50, 0);
    let mut config = FeatureConfig::prediction(100, 0, 0);
    config.max_clusters = 300;
    let (mut n, mut masked, mut tokens, mut same, mut outside) = (0, 0, 0, 0, 0);
    for seed in 0..20 {
        for pass in &make(&example, &config, 1, &Keyed::new(seed, 0)).passes {
            for ((&now, &was), &bert) in pass.msa.iter().zip(&pass.true_msa).zip(&pass.bert_mask) {
                n += 1;
                masked += usize::from(bert == 1);
                tokens += usize::from(now == 22);
                same += usize::from(bert == 1 && now == was);
                outside += usize::from(bert == 0 && now != was);
            }
        }
    }
    assert_eq!(outside, 0);
    assert!(is_share(masked, n, 0.15), "{masked} of {n}");
    assert!(is_share(tokens, masked, 0.7), "{tokens} of {masked}");
    // 10 % are kept; of the 20 % redrawn about one in 20 or 22 comes out as it was.
    let share = same as f64 / masked as f64;
    assert!((0.10..0.12).contains(&share), "{share}");
}

#[test]
fn blocks_of_rows_are_deleted_and_distillation_keeps_a_thousand() {
    let rows_of = |f: &Features| f.passes[0].clusters.size.iter().map(|&s| s as usize).sum::<usize>();
    let mut example = example(2000, 12, 0);
    let config = FeatureConfig::training(12, 4, 8);
    let mut left = Vec::new();
    for k in 0..200 {
        let f = make(&example, &config, 1, &Keyed::new(6, k));
        assert_eq!(f.passes[0].true_msa[..12], example.aatype, "the query stays and stays first");
        left.push(rows_of(&f) as f64 / 2000.0);
    }
    let mean = left.iter().sum::<f64>() / 200.0;
    // A row at place u of 1 is hit by a block with probability min(u, 0.3): the mean of (1 - min(u, 0.3))^5 over u is 0.265.
    assert!((mean - 0.265).abs() < 0.02, "{mean}");
    assert!(left.iter().all(|l| *l <= 0.7001));
    example.labels.as_mut().unwrap().is_distillation = true;
    let mut config = config;
    config.training.as_mut().unwrap().deleted_blocks = 0;
    assert_eq!(rows_of(&make(&example, &config, 1, &Keyed::new(6, 0))), 1000);
}

#[test]
fn nine_in_ten_examples_are_clamped_and_passes_differ_in_their_rows() {
    let example = example(60, 12, 0);
    let config = FeatureConfig::training(12, 8, 8);
    let n = 3000;
    let clamped = (0..n).filter(|&k| make(&example, &config, 0, &Keyed::new(8, k)).clamped).count();
    assert!(is_share(clamped, n as usize, 0.9), "{clamped}");
    let f = make(&example, &FeatureConfig::prediction(12, 8, 4), 3, &Keyed::new(8, 1));
    assert!(f.passes[0].true_msa != f.passes[1].true_msa && f.passes[1].extra_msa != f.passes[2].extra_msa);
    assert_eq!(f, make(&example, &FeatureConfig::prediction(12, 8, 4), 3, &Keyed::new(8, 1)));
}

/// What the GPU does with the compact form, done here: the result is AlphaFold's `msa_feat`, in padding too.
#[test]
fn the_compact_form_holds_all_that_msa_feat_needs() {
    let example = example(80, 40, 2);
    let f = make(&example, &FeatureConfig::training(32, 8, 20), 2, &Keyed::new(2, 11));
    let size = Size { n_res: 48, n_clust: 16, n_extra: 24, n_templ: 4 };
    let arrays = full(&f, size);
    for r in 0..2 {
        let t = ship::pass(&f, r, size);
        let feat = arrays["msa_feat"].rows(r..r + 1);
        for cell in 0..size.n_clust * size.n_res {
            let mask = t["msa_mask"].as_f32()[cell];
            let mut ours = [0.0; 49];
            ours[t["msa"].as_i32()[cell] as usize] = mask;
            let deletions = t["deletion_count"].as_i32()[cell] as f32;
            let per = 1.0 / (1e-6 + t["cluster_size"].as_i32()[cell / size.n_res] as f32);
            ours[23] = deletions.clamp(0.0, 1.0);
            ours[24] = deletion_value(deletions);
            for k in 0..23 {
                ours[25 + k] = t["cluster_count"].as_i32()[cell * 23 + k] as f32 * per;
            }
            ours[48] = deletion_value(t["cluster_deletion_sum"].as_i32()[cell] as f32 * per);
            for (k, (a, b)) in ours.iter().zip(&feat.as_f32()[cell * 49..][..49]).enumerate() {
                assert!((a - b).abs() < 1e-6, "cell {cell}, channel {k}: {a} and {b}");
            }
        }
        assert_eq!(t["extra_msa"].as_i32(), arrays["extra_msa"].rows(r..r + 1).as_i32());
    }
    let labels = ship::labels(&f, size.n_res).unwrap();
    assert_eq!(labels["rigidgroups_gt_frames"].shape, [48, 8, 12]);
    assert_eq!(labels["use_clamped_fape"].as_f32(), [f32::from(u8::from(f.clamped))]);
    assert!(labels["pseudo_beta_mask"].as_f32()[f.n_crop()..].iter().all(|&m| m == 0.0));
}
