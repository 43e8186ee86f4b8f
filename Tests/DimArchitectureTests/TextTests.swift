import DimArchitecture
import Testing

@Suite struct TextTests {
    /// The grammar's first example, which leaves nothing to the preset.
    static let basic32 = """
        {"version": 1, "preset": "basic32",
         "image": {"channels": 3, "height": 32, "width": 32, "mean": 0.5, "std": 0.5, "resize": "fit"},
         "encoder": {
           "layers": [
             {"op": "conv", "name": "c0", "out": 64,  "kernel": 4, "stride": 2, "padding": 1, "bias": false,
                 "norm": "batch", "activation": "relu"},
             {"op": "conv", "name": "c1", "out": 128, "kernel": 4, "stride": 2, "padding": 1, "bias": false,
                 "norm": "batch", "activation": "relu"},
             {"op": "conv", "name": "c2", "out": 256, "kernel": 4, "stride": 2, "padding": 1, "bias": false,
                 "norm": "batch", "activation": "relu"},
             {"op": "flatten"},
             {"op": "linear", "name": "l0", "out": 1024, "bias": false, "norm": "batch", "activation": "relu"},
             {"op": "linear", "name": "l1", "out": 64}],
           "features": "c1", "conv": "c2", "fc": "l0"},
         "local":  {"score": "dot", "net": "light", "units": 512},
         "global": null,
         "prior":  {"hidden": [1000, 200], "squash": "sigmoid"},
         "classifier": {"hidden": [200], "dropout": 0.1, "classes": 10}}
        """

    static let notebook = """
        {"version":1,"image":{"channels":3,"height":32,"width":32},"encoder":{"norms":"last","layers":[
        {"op":"conv","name":"c0","out":64,"kernel":4,"activation":"relu"},
        {"op":"conv","name":"c1","out":128,"kernel":4,"norm":"batch","norm_name":"b1","activation":"relu"},
        {"op":"conv","name":"c2","out":256,"kernel":4,"norm":"batch","norm_name":"b2","activation":"relu"},
        {"op":"conv","name":"c3","out":512,"kernel":4,"norm":"batch","norm_name":"b3","activation":"relu"},
        {"op":"flatten"},{"op":"linear","name":"l1","out":64}],"features":"c1","conv":"c3","fc":null},
        "local":{"score":"concat","hidden":[512,512]},
        "global":{"score":"concat","layers":[{"op":"conv","name":"c0","out":64,"kernel":3,"activation":"relu"},
        {"op":"conv","name":"c1","out":32,"kernel":3}],"hidden":[512,512]},
        "prior":{"hidden":[1000,200],"squash":"none"},
        "classifier":{"hidden":[15,10],"output_norm":"batch","names":[["l1","bn1"],["l2","bn2"],["l3","bn3"]],"classes":10}}
        """

    @Test func theGrammarsExamplesAreThePresets() throws {
        #expect(try Architecture.parse(TextTests.basic32) == .basic32)
        let notebook = try Architecture.parse(TextTests.notebook)
        #expect(notebook.preset == nil)
        #expect(notebook.isSameNetwork(as: .notebook))
        #expect(notebook != .notebook)
        #expect(!notebook.isSameNetwork(as: .basic32))
        #expect(notebook.parameters == Architecture.notebook.parameters)
    }

    @Test func canonicalTextHasEveryKeyInOrder() throws {
        let text = """
            {"image":{"width":9,"height":8,"channels":2,"std":[2,2],"mean":[0.25,1e-3]},"encoder":{"features":"c0","layers":[
            {"activation":"relu","padding":[1,0],"kernel":[3,2],"out":4,"norm":"layer","name":"c0","op":"conv"},
            {"op":"maxpool","kernel":2},{"op":"dropout"},
            {"op":"residual","name":"r0","layers":[{"op":"conv","name":"c0","out":6,"kernel":1}],
            "shortcut":{"op":"conv","out":6,"kernel":1,"norm":"batch"}},{"op":"flatten"},{"op":"linear","name":"l0","out":3}]},
            "local":{"score":"dot","units":5},"global":{"score":"concat","hidden":[7],"input":"conv"},
            "prior":{"hidden":[]},"classifier":{"classes":4,"hidden":[2]},"coordinates":{"hidden":[8]}}
            """
        let canonical =
            #"{"version":1,"preset":null,"image":{"channels":2,"height":8,"width":9,"mean":[0.25,0.001],"std":2,"resize":"fit"},"#
            + #""encoder":{"layers":[{"op":"conv","name":"c0","out":4,"kernel":[3,2],"stride":1,"padding":[1,0],"bias":true,"#
            + #""norm":"layer","norm_name":"c0_norm","activation":"relu"},"#
            + #"{"op":"maxpool","name":null,"kernel":2,"stride":2,"padding":0,"norm":null,"norm_name":null,"activation":null},"#
            + #"{"op":"dropout","name":null,"dropout":0,"norm":null,"norm_name":null,"activation":null},"#
            + #"{"op":"residual","name":"r0","layers":[{"op":"conv","name":"c0","out":6,"kernel":1,"stride":1,"padding":0,"#
            + #""bias":true,"norm":null,"norm_name":null,"activation":null}],"shortcut":{"op":"conv","name":"s0","out":6,"kernel":1,"#
            + #""stride":1,"padding":0,"bias":true,"norm":"batch","norm_name":"s0_norm","activation":null},"#
            + #""norm":null,"norm_name":null,"activation":null},"#
            + #"{"op":"flatten","name":null,"norm":null,"norm_name":null,"activation":null},"#
            + #"{"op":"linear","name":"l0","out":3,"bias":true,"norm":null,"norm_name":null,"activation":null}],"#
            + #""norms":null,"features":"c0","conv":"r0","fc":null},"local":{"score":"dot","net":"authors","units":5},"#
            + #""global":{"score":"concat","input":"conv","layers":[],"hidden":[7]},"prior":{"hidden":[],"squash":"none"},"#
            + #""classifier":{"hidden":[2],"dropout":0,"classes":4,"output_norm":null,"names":null},"coordinates":{"hidden":[8]}}"#
        let architecture = try Architecture.parse(text)
        #expect(architecture.json == canonical)
        #expect(try Architecture.parse(canonical) == architecture)
    }

    @Test(arguments: Architecture.presetNames)
    func presetsSurviveTheirText(name: String) throws {
        let preset = try #require(Architecture.preset(name))
        #expect(preset.preset == name)
        #expect(try Architecture.parse(preset.json) == preset)
        #expect(try Architecture.parse(#"{"preset":"\#(name)"}"#) == preset)
        #expect(try Architecture.parse(#" { "version" : 1 , "preset" : "\#(name)" } "#).json == preset.json)
    }
}

/// A preset's values, and those given beside it.
@Suite struct MergingTests {
    private func parse(_ text: String) throws -> Architecture { try Architecture.parse(text) }

    @Test func membersOfImageAreReplacedOneByOne() throws {
        var expected = Architecture.basic32
        expected.image = ImageDescription(channels: 1, height: 48, width: 40, mean: [0.5], std: [0.5])
        #expect(try parse(#"{"preset":"basic32","image":{"channels":1,"height":48,"width":40}}"#) == expected)
        expected = .basic32
        expected.image.mean = [0.1, 0.2, 0.3]
        expected.image.resize = .crop
        #expect(try parse(#"{"preset":"basic32","image":{"mean":[0.1,0.2,0.3],"resize":"crop"}}"#) == expected)
        expected.image.mean = [0]
        expected.image.std = [1]
        #expect(try parse(#"{"preset":"basic32","image":{"mean":null,"std":null,"resize":"crop"}}"#) == expected)
    }

    @Test func membersOfEncoderPriorAndClassifierAreReplacedOneByOne() throws {
        var expected = Architecture.basic32
        expected.encoder.features = "c0"
        expected.encoder.fc = nil
        expected.prior?.squash = .none
        expected.classifier?.classes = 137
        expected.classifier?.dropout = 0
        let text = """
            {"preset":"basic32","encoder":{"features":"c0","fc":null},"prior":{"squash":"none"},
            "classifier":{"classes":137,"dropout":null}}
            """
        #expect(try parse(text) == expected)
    }

    @Test func layersAndHeadsAreReplacedWhole() throws {
        let text = """
            {"preset":"notebook","encoder":{"layers":[{"op":"conv","name":"c1","out":8,"kernel":3,"stride":2,"norm":"batch"},
            {"op":"conv","name":"c3","out":8,"kernel":3,"stride":2},{"op":"flatten"},{"op":"linear","name":"l0","out":5}]},
            "local":{"score":"dot","units":7},"global":{"score":"dot","net":"copy","units":6},"coordinates":{"hidden":[3]}}
            """
        var expected = Architecture.notebook
        expected.encoder.layers = [
            .conv("c1", 8, kernel: 3, stride: 2, norm: .batch), .conv("c3", 8, kernel: 3, stride: 2), .flatten,
            .linear("l0", 5),
        ]
        expected.local = .dot(net: .authors, units: 7)
        expected.global = .dot(net: .copy, units: 6)
        expected.coordinates = CoordinatesDescription(hidden: [3])
        #expect(try parse(text) == expected)
    }

    @Test func nullRemoves() throws {
        let text = """
            {"preset":"notebook","local":null,"global":null,"prior":null,"classifier":null,"coordinates":null,
            "encoder":{"norms":null,"conv":null}}
            """
        var expected = Architecture(
            preset: "notebook", image: Architecture.notebook.image, encoder: Architecture.notebook.encoder)
        expected.encoder.normsLast = false
        expected.encoder.conv = nil
        #expect(try parse(text) == expected)
        #expect(expected.resolved.networks == [.encoder])
    }

    @Test func namesOfTheClassifierCanBeTakenBack() throws {
        let architecture = try parse(
            #"{"preset":"notebook","classifier":{"hidden":[20],"names":null,"output_norm":null,"classes":5}}"#)
        #expect(
            architecture.parameters(of: .classifier).filter(\.isTrainable).map(\.key)
                == ["l0.weight", "l0.bias", "l0_norm.weight", "l0_norm.bias", "l1.weight", "l1.bias"])
        let given = #"{"preset":"basic32","classifier":{"names":[["l0","l0_norm"],["l1"]]}}"#
        #expect(try parse(given) == .basic32)
    }

    @Test func aDescriptionMayNameNoPreset() throws {
        let text = """
            {"image":{"channels":1,"height":6,"width":5},"encoder":{"layers":[{"op":"conv","name":"c0","out":2,"kernel":2},
            {"op":"flatten"},{"op":"linear","name":"l0","out":3},{"op":"linear","name":"l1","out":4}],"features":"c0"}}
            """
        let expected = Architecture(
            image: ImageDescription(channels: 1, height: 6, width: 5),
            encoder: EncoderDescription(
                layers: [.conv("c0", 2, kernel: 2), .flatten, .linear("l0", 3), .linear("l1", 4)], features: "c0",
                conv: "c0", fc: "l0"))
        #expect(try parse(text) == expected)
        #expect(expected.trainingPreset.measure == "nce")
        #expect(Architecture.notebook.trainingPreset.measure == "gan")
    }

    @Test func randomArchitecturesSurviveTheirText() throws {
        var seen: Set<String> = []
        for seed in 0..<2000 {
            let architecture = randomArchitecture(seed: seed)
            let resolved = try architecture.resolve()
            let text = architecture.json
            let again = try Architecture.parse(text)
            #expect(again == architecture, "seed \(seed): \(text)")
            #expect(again.json == text, "seed \(seed)")
            #expect(try again.resolve() == resolved, "seed \(seed)")
            #expect(Set(resolved.parameters.map(\.name)).count == resolved.parameters.count, "seed \(seed)")
            seen.formUnion(architecture.encoder.layers.map(\.op.rawValue))
            seen.formUnion([architecture.local, architecture.global].compactMap { $0 }.map { "\($0.score) \($0.net)" })
        }
        #expect(
            seen
                == Set(
                    Layer.Operation.allCases.map(\.rawValue) + [
                        "dot light", "dot authors", "dot copy", "concat authors",
                    ]))
    }

    @Test func numbersAreWrittenShortAndReadTheSame() throws {
        for value in ["0.1", "1e-06", "0.30000000000000004", "5e-324", "0", "100000", "-0.001", "0.0001220703125"] {
            let text = #"{"preset":"basic32","image":{"mean":\#(value)}}"#
            #expect(try parse(text).json.contains(#""mean":\#(value),"#), "\(value)")
        }
        #expect(try parse(#"{"preset":"basic32","image":{"mean":-0}}"#).json.contains(#""mean":0,"#))
        #expect(try parse(#"{"preset":"basic32","image":{"mean":-0.0}}"#).json.contains(#""mean":0,"#))
        #expect(try parse(#"{"preset":"basic32","image":{"mean":5e-1}}"#) == .basic32)
    }
}
