fn sigmoid(v: vec4<f32>) -> vec4<f32> { return 1.0 / (1.0 + exp(-v)); }

// What a mask and a gate before its sigmoid leave of a value, the same bits in every kernel.
fn under_gate(v: vec4<f32>, mask: f32, gate: vec4<f32>) -> vec4<f32> { return v * mask * sigmoid(gate); }
