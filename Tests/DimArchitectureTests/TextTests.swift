import DimArchitecture
import Testing

@Suite struct TextTests {
    /// The grammar's first example, which leaves nothing to the preset.
    static let basic32 = """
        {"version": 1, "preset": "basic32",
         "image": {"channels": 3, "height": 32, "width": 32, "mean": 0.5, "std": 0.5, "resize": "fit"},
         "encoder": {
           "layers": [
             {"op": "conv", "name": "c0", "out": 64,  "kernel": 4, "stride": 2, "padding": 1, "bias": false, "norm": "batch", "activation": "relu"},
             {"op": "conv", "name": "c1", "out": 128, "kernel": 4, "stride": 2, "padding": 1, "bias": false, "norm": "batch", "activation": "relu"},
             {"op": "conv", "name": "c2", "out": 256, "kernel": 4, "stride": 2, "padding": 1, "bias": false, "norm": "batch", "activation": "relu"},
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
        #expect(notebook.parameters == Schema.all)
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
