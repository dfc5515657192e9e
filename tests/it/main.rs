//! One test binary.

mod bench_command;
mod damaged_files;
mod data_files;
mod data_goldens;
mod data_rules;
mod data_set;
mod evaluate_command;
mod loss_invariance;
mod op_cases;
mod planner;
mod portability;
mod predict;
mod protein_files;
mod protein_goldens;
mod protein_metrics;
mod report_page;
mod search_failures;
mod search_programs;
mod shared;
mod structure_model;
mod template_hits;
mod tidy;
mod training_files;
mod trajectory;
mod updates;
mod verify_rules;
