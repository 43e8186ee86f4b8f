import DimArchitecture
import Testing

/// Order, names, shapes and roles, written down by hand.
@Suite struct ParameterTests {
    private func keys(_ text: String, _ network: Network) throws -> [String] {
        try Architecture.parse(text).parameters(of: network).filter { $0.role != .batchCount }
            .map { "\($0.key) \($0.shape.map(String.init).joined(separator: "x"))" }
    }

    private static let image = #""image":{"channels":3,"height":8,"width":8}"#
    private static let convs =
        #"{"op":"conv","name":"c0","out":4,"kernel":3},{"op":"conv","name":"c1","out":5,"kernel":[3,2],"bias":false,"norm":"batch"}"#
    private static let rest = #"{"op":"flatten"},{"op":"linear","name":"l0","out":7}"#

    private func text(_ layers: String = convs, _ more: String = "", encoder: String = "") -> String {
        #"{\#(ParameterTests.image),"encoder":{"layers":[\#(layers),\#(ParameterTests.rest)],"features":"c0"\#(encoder)}\#(more)}"#
    }

    private let norm = ["weight", "bias", "running_mean", "running_var"]

    @Test func layerThenItsNorm() throws {
        let layers = [["c0.weight 4x3x3x3", "c0.bias 4"], ["c1.weight 5x4x3x2"], ["l0.weight 7x100", "l0.bias 7"]]
        let norms = norm.map { "c1_norm.\($0) 5" }
        #expect(try keys(text(), .encoder) == layers[0] + layers[1] + norms + layers[2])
        #expect(try keys(text(encoder: #","norms":"last""#), .encoder) == layers.flatMap { $0 } + norms)
    }

    @Test func batchNormHasACounterLayerNormHasNot() throws {
        let specs = try Architecture.parse(text()).parameters(of: .encoder)
        #expect(specs.map(\.name)[7] == "encoder.c1_norm.num_batches_tracked")
        #expect(specs[7].shape == [] && specs[7].role == .batchCount && !specs[7].isTrainable && specs[7].bytes == 8)
        #expect(
            specs.map(\.role) == [
                .drawn(fanIn: 27), .drawn(fanIn: 27), .drawn(fanIn: 24), .ones, .zeros, .runningMean, .runningVar,
                .batchCount,
                .drawn(fanIn: 100), .drawn(fanIn: 100),
            ])
        let layer = try Architecture.parse(text(ParameterTests.convs.replacing("batch", with: "layer")))
        #expect(layer.parameters(of: .encoder).map(\.key)[3...4] == ["c1_norm.weight", "c1_norm.bias"])
        #expect(layer.parameters(of: .encoder).map(\.key)[5] == "l0.weight")
    }

    @Test func residualBlocksRegisterTheShortcutLast() throws {
        let block = """
            {"op":"conv","name":"c0","out":4,"kernel":3},{"op":"residual","name":"r0","norm":"layer","layers":[
            {"op":"conv","name":"c0","out":6,"kernel":1,"norm":"batch"},{"op":"conv","name":"c1","out":6,"kernel":1,"bias":false}],
            "shortcut":{"op":"conv","name":"s0","out":6,"kernel":1,"bias":false,"norm":"batch"}}
            """
        let inner = norm.map { "r0.c0_norm.\($0) 6" }, shortcut = norm.map { "r0.s0_norm.\($0) 6" }
        let first = ["c0.weight 4x3x3x3", "c0.bias 4"], last = ["l0.weight 7x216", "l0.bias 7"]
        let own = ["r0_norm.weight 6", "r0_norm.bias 6"], c0 = ["r0.c0.weight 6x4x1x1", "r0.c0.bias 6"]
        #expect(
            try keys(text(block), .encoder) == first + c0 + inner + ["r0.c1.weight 6x6x1x1", "r0.s0.weight 6x4x1x1"]
                + shortcut + own + last)
        // norms last: in the block behind the block's layers, without behind the encoder's.
        #expect(
            try keys(text(block, encoder: #","norms":"last""#), .encoder) == first + c0
                + ["r0.c1.weight 6x6x1x1", "r0.s0.weight 6x4x1x1"] + inner + shortcut + last + own)
    }

    @Test func blocksWithoutANameStandInTheNetwork() throws {
        let block = """
            {"op":"conv","name":"c0","out":4,"kernel":3},{"op":"residual","activation":"relu","layers":[
            {"op":"conv","name":"c1","out":6,"kernel":1,"norm":"batch"}],"shortcut":{"op":"conv","name":"s1","out":6,"kernel":1}}
            """
        let norms = norm.map { "c1_norm.\($0) 6" }, last = ["l0.weight 7x216", "l0.bias 7"]
        let first = ["c0.weight 4x3x3x3", "c0.bias 4"], c1 = ["c1.weight 6x4x1x1", "c1.bias 6"]
        let shortcut = ["s1.weight 6x4x1x1", "s1.bias 6"]
        #expect(try keys(text(block), .encoder) == first + c1 + norms + shortcut + last)
        #expect(
            try keys(text(block, encoder: #","norms":"last""#), .encoder) == first + c1 + shortcut + norms + last)
        let hidden = block.replacing("\"s1\"", with: "\"y0\"")
        let copy = #","global":{"score":"dot","net":"copy","units":6}"#
        #expect(faults(text(hidden, copy)).first?.hasPrefix("global.net: ") == true)
    }

    @Test func concatHeads() throws {
        let local = text(ParameterTests.convs, #","local":{"score":"concat","hidden":[9,8]}"#)
        #expect(
            try keys(local, .localD) == [
                "c0.weight 9x11x1x1", "c0.bias 9", "c1.weight 8x9x1x1", "c1.bias 8", "c2.weight 1x8x1x1", "c2.bias 1",
            ])
        let own =
            #","global":{"score":"concat","input":"conv","layers":[{"op":"conv","name":"c0","out":2,"kernel":2}],"hidden":[9]}"#
        #expect(
            try keys(text(ParameterTests.convs, own), .globalD) == [
                "c0.weight 2x5x2x2", "c0.bias 2", "l0.weight 9x31", "l0.bias 9", "l1.weight 1x9", "l1.bias 1",
            ])
        #expect(
            try keys(text(ParameterTests.convs, #","global":{"score":"concat","hidden":[]}"#), .globalD)
                == ["l0.weight 1x151", "l0.bias 1"])
    }

    @Test func lightDotHeads() throws {
        let y = ["y0.weight 6x7", "y0.bias 6", "y1.weight 6x6", "y1.bias 6", "ys0.weight 6x7", "ys0.bias 6"]
        let local = try Architecture.parse(
            text(ParameterTests.convs, #","local":{"score":"dot","net":"light","units":6}"#))
        #expect(
            try keys(local.json, .localD) == [
                "f0.weight 6x4x1x1", "f0.bias 6", "f1.weight 6x6x1x1", "f1.bias 6", "fs0.weight 6x4x1x1", "fs0.bias 6",
            ] + y)
        #expect(local.resolved.local?.scale == 1 / 6.0.squareRoot())
        #expect(
            local.parameters(of: .localD).map(\.role)
                == [4, 4, 6, 6, 4, 4, 7, 7, 6, 6, 7, 7].map { .drawn(fanIn: $0) })
        // A global head's features net reads the flattened map.
        #expect(
            try keys(text(ParameterTests.convs, #","global":{"score":"dot","net":"light","units":6}"#), .globalD) == [
                "f0.weight 6x144", "f0.bias 6", "f1.weight 6x6", "f1.bias 6", "fs0.weight 6x144", "fs0.bias 6",
            ] + y)
    }

    @Test func authorsDotHeads() throws {
        let local = try Architecture.parse(text(ParameterTests.convs, #","local":{"score":"dot","units":6}"#))
        let f =
            ["f0.weight 6x4x1x1"] + norm.map { "f0_norm.\($0) 6" }
            + ["f1.weight 6x6x1x1", "f1.bias 6", "fs0.weight 6x4x1x1", "fn0.weight 6", "fn0.bias 6"]
        let y =
            ["y0.weight 6x7"] + norm.map { "y0_norm.\($0) 6" }
            + ["y1.weight 6x6", "y1.bias 6", "ys0.weight 6x7", "yn0.weight 6", "yn0.bias 6"]
        #expect(try keys(local.json, .localD) == f + y)
        #expect(local.resolved.local?.scale == 1)
        let roles = Dictionary(uniqueKeysWithValues: local.parameters(of: .localD).map { ($0.key, $0.role) })
        #expect(roles["fs0.weight"] == .authorsShortcut(fanIn: 4) && roles["ys0.weight"] == .authorsShortcut(fanIn: 7))
        #expect(roles["f0.weight"] == .drawn(fanIn: 4) && roles["fn0.weight"] == .ones && roles["fn0.bias"] == .zeros)
        #expect(roles.values.filter { if case .authorsShortcut = $0 { true } else { false } }.count == 2)
    }

    @Test func copiesOfTheEncodersRest() throws {
        let head = #","global":{"score":"dot","net":"copy","units":6}"#
        let rest = ["c1.weight 5x4x3x2"], norms = norm.map { "c1_norm.\($0) 5" },
            last = ["l0.weight 6x100", "l0.bias 6"]
        let y = ["y0.weight 6x7", "y0.bias 6"]
        #expect(try keys(text(ParameterTests.convs, head), .globalD) == rest + norms + last + y)
        #expect(
            try keys(text(ParameterTests.convs, head, encoder: #","norms":"last""#), .globalD) == rest + last + norms
                + y)
        let conv = head.replacing("copy\"", with: "copy\",\"input\":\"conv\"")
        #expect(try keys(text(ParameterTests.convs, conv), .globalD) == last + y)
        let resolved = try Architecture.parse(text(ParameterTests.convs, conv)).resolved
        #expect(resolved.globalMapShape == MapShape(channels: 5, height: 4, width: 5))
        #expect(resolved.global?.map.last?.output == MapShape(channels: 6))
    }

    @Test func priorClassifierAndCoordinates() throws {
        let more =
            #","prior":{"hidden":[3]},"classifier":{"hidden":[4],"dropout":0.5,"classes":5},"coordinates":{"hidden":[2]}"#
        let all = text(ParameterTests.convs, more)
        #expect(try keys(all, .priorD) == ["l0.weight 3x7", "l0.bias 3", "l1.weight 1x3", "l1.bias 1"])
        let classifier =
            ["l0.weight 4x7", "l0.bias 4"] + norm.map { "l0_norm.\($0) 4" } + ["l1.weight 5x4", "l1.bias 5"]
        #expect(try keys(all, .classifier) == classifier)
        #expect(try keys(all.replacing("0.5", with: "0"), .classifier) == classifier)
        #expect(
            try keys(all, .coordinatesD) == ["c0.weight 2x11x1x1", "c0.bias 2", "c1.weight 12x2x1x1", "c1.bias 12"])
        let resolved = try Architecture.parse(all).resolved
        #expect(resolved.networks == [.encoder, .priorD, .classifier, .coordinatesD])
        #expect(resolved.parameters.last?.name == "coordinates_d.c1.bias")
        #expect(resolved.parameters(of: .globalD).isEmpty)
        // Linear, then dropout with the norm and the activation behind it.
        #expect(resolved.classifier?.map(\.layer.op) == [.linear, .dropout, .linear])
        #expect(resolved.classifier?[1].normPath == "l0_norm" && resolved.classifier?[1].layer.activation == .relu)
    }

    @Test func vectorsAreImagesOfOnePixel() throws {
        let text = """
            {"image":{"channels":128,"height":1,"width":1},"encoder":{"layers":[{"op":"flatten"},
            {"op":"linear","name":"l0","out":32,"norm":"batch","activation":"relu"},{"op":"linear","name":"l1","out":8}],
            "features":"l0"},"local":{"score":"dot","net":"light","units":4}}
            """
        let architecture = try Architecture.parse(text)
        #expect(architecture.encoder.conv == nil && architecture.encoder.fc == "l0")
        #expect(architecture.resolved.featuresShape == MapShape(channels: 32))
        #expect(architecture.parameters(of: .localD)[0].shape == [4, 32, 1, 1])
    }

    @Test func poolsDropTheWindowPastTheMap() throws {
        for (op, kernel, stride, padding, expected) in [
            ("maxpool", 3, 2, 0, 3), ("maxpool", 2, 2, 0, 4), ("maxpool", 3, 3, 0, 2), ("avgpool", 3, 2, 1, 4),
            ("avgpool", 4, 4, 0, 2),
        ] {
            let pool = #"{"op":"\#(op)","kernel":\#(kernel),"stride":\#(stride),"padding":\#(padding)}"#
            let encoder = try Architecture.parse(text(#"{"op":"conv","name":"c0","out":4,"kernel":1},"# + pool))
                .resolved.encoder
            #expect(encoder[1].output == MapShape(channels: 4, height: expected, width: expected))
        }
    }

    @Test func theSummaryAddsUp() throws {
        for name in Architecture.presetNames {
            let resolved = try #require(Architecture.preset(name)).resolved
            let trainable = resolved.parameters.filter(\.isTrainable).reduce(0) { $0 + $1.count }
            #expect(resolved.summary.parameters == trainable)
        }
        for seed in 0..<50 {
            let resolved = randomArchitecture(seed: seed).resolved
            let trainable = resolved.parameters.filter(\.isTrainable).reduce(0) { $0 + $1.count }
            #expect(resolved.summary.parameters == trainable, "seed \(seed)")
        }
        func encoder(_ name: String) -> Int {
            Architecture.preset(name)!.summary.rows.filter { $0.network == .encoder }.reduce(0) { $0 + $1.multiplyAdds }
        }
        // The paper's table, in millions.
        for (name, millions) in [("basic32", 22), ("notebook", 1220), ("alex64", 823)] {
            #expect(abs(encoder(name) - millions * 1_000_000) < 1_000_000, "\(name)")
        }
        let rows = Architecture.resnet19.summary.rows.filter { $0.network == .encoder }
        #expect(rows.prefix(6).map(\.name) == ["c0", "r0.c0", "r0.c1", "r0.c2", "r0.s0", "r0"])
        #expect(rows[1].parameters == 64 * 64 + 2 * 64 && rows[1].multiplyAdds == 64 * 64 * 16 * 16)
        let text = Architecture.basic32.summary.json
        #expect(
            text.hasPrefix(
                #"{"layers":[{"network":"encoder","name":"c0","op":"conv","output":[64,16,16],"parameters":3200,"multiply_adds":786432},"#
            ))
        _ = try JSON.parse(Array(text.utf8), limits: JSON.Limits(bytes: 1 << 20, depth: 4))
    }
}
