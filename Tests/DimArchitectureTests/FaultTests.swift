import DimArchitecture
import Testing

/// Each fault with its place and what was expected.
@Suite struct FaultTests {
    /// As messages list them: "conv", "linear" .. or "dropout".
    private static let operators: String = {
        let quoted = Layer.Operation.allCases.map { "\"\($0.rawValue)\"" }
        return quoted.dropLast().joined(separator: ", ") + " or " + quoted.last!
    }()

    private static let small =
        #""image":{"channels":3,"height":8,"width":8}"#

    /// A small encoder whose first layer is `layer`.
    private static func with(_ layer: String, _ rest: String = "") -> String {
        """
        {\(small),"encoder":{"layers":[\(layer),{"op":"flatten"},{"op":"linear","name":"l9","out":4}],"features":"c0"}\(rest)}
        """
    }

    private static let conv = #"{"op":"conv","name":"c0","out":4,"kernel":3}"#

    private static let wholeFaults: [(String, String)] = [
        ("[]", "expected an object, found an array"),
        ("{\(small)}", "encoder: missing; expected an object with layers and features"),
        (
            #"{"encoder":{"layers":[{"op":"linear","name":"l0","out":1},{"op":"linear","name":"l1","out":1}],"features":"l0"}}"#,
            "image: missing; expected an object with channels, height and width"
        ),
        (#"{"preset":"basic32","version":2}"#, "version: expected 1, found 2"),
        (#"{"preset":"basic32","version":1.0}"#, "version: expected 1, found 1.0"),
        (
            #"{"preset":"basic33"}"#,
            #"preset: expected one of "notebook", "basic28", "basic32", "basic64", "alex64", "resnet19_32", found "basic33""#
        ),
        (
            #"{"preset":"basic32","encode":{}}"#,
            "encode: unknown key; a description has version, preset, image, encoder, local, global, prior, classifier, coordinates"
        ),
        (#"{"preset":"basic32","image":[1]}"#, "image: expected an object, found an array"),
        (#"{"preset":"basic32","encoder":null}"#, "encoder: expected an object, found null"),
    ]

    private static let imageFaults: [(String, String)] = [
        (#"{"preset":"basic32","image":{"channels":0}}"#, "image.channels: expected 1 to 65536, found 0"),
        (
            #"{"preset":"basic32","image":{"channels":2147483648}}"#,
            "image.channels: expected 1 to 65536, found 2147483648"
        ),
        (
            #"{"preset":"basic32","image":{"channels":18446744073709551616}}"#,
            "image.channels: expected a smaller integer, found 18446744073709551616"
        ),
        (#"{"preset":"basic32","image":{"height":1025}}"#, "image.height: expected 1 to 1024, found 1025"),
        (#"{"preset":"basic32","image":{"width":32.5}}"#, "image.width: expected an integer, found 32.5"),
        (#"{"preset":"basic32","image":{"width":"32"}}"#, #"image.width: expected an integer, found "32""#),
        (
            #"{"preset":"basic32","image":{"channels":2,"mean":[1,2,3]}}"#,
            "image.mean: expected a number, or one for each of 2 channels, found 3"
        ),
        (
            #"{"preset":"basic32","image":{"channels":3,"std":[2,2]}}"#,
            "image.std: expected a number, or one for each of 3 channels, found 2"
        ),
        (#"{"preset":"basic32","image":{"mean":[]}}"#, "image.mean: expected a number, or one per channel, found []"),
        (#"{"preset":"basic32","image":{"std":0}}"#, "image.std: expected 1e-6 to 1e6, found 0.0"),
        (#"{"preset":"basic32","image":{"std":[1,-1,1]}}"#, "image.std[1]: expected 1e-6 to 1e6, found -1.0"),
        (#"{"preset":"basic32","image":{"mean":[1,"x",1]}}"#, #"image.mean[1]: expected a number, found "x""#),
        (#"{"preset":"basic32","image":{"mean":1e300}}"#, "image.mean: expected -1e6 to 1e6, found 1e+300"),
        (
            #"{"preset":"basic32","image":{"resize":"zoom"}}"#,
            #"image.resize: expected "fit", "crop", "stretch" or "none", found "zoom""#
        ),
        (
            #"{"preset":"basic32","image":{"channels":65536,"height":1024,"width":1024}}"#,
            "image: expected at most 67108864 numbers, found 68719476736"
        ),
    ]

    private static let encoderFaults: [(String, String)] = [
        (
            #"{\#(small),"encoder":{"layers":[],"features":"c0"}}"#,
            "encoder.layers: expected at least one layer, found none"
        ),
        (
            #"{"preset":"basic32","encoder":{"layers":{}}}"#,
            "encoder.layers: expected an array of layers, found an object"
        ),
        (
            #"{"preset":"basic32","encoder":{"norms":"first"}}"#,
            #"encoder.norms: expected "last" or null, found "first""#
        ),
        (
            #"{"preset":"basic32","encoder":{"features":"c7"}}"#,
            #"encoder.features: no layer of the encoder has the name "c7"; there are "c0", "c1", "c2", "l0""#
        ),
        (
            #"{"preset":"basic32","encoder":{"features":"l1"}}"#,
            #"encoder.features: expected a layer before the last, found "l1", whose output is encoded"#
        ),
        (
            #"{"preset":"basic32","encoder":{"conv":"l0"}}"#,
            "encoder.conv: expected a map before flatten, found a vector of 1024 numbers"
        ),
        (
            #"{"preset":"basic32","encoder":{"fc":"c1"}}"#,
            "encoder.fc: expected a vector behind flatten, found a map of (128, 8, 8)"
        ),
        (
            #"{\#(small),"encoder":{"layers":[\#(conv),{"op":"flatten"}],"features":"c0"}}"#,
            #"encoder.layers[1].op: expected "linear", as the last layer is, found "flatten""#
        ),
    ]

    private static let layerFaults: [(String, String)] = [
        (with(conv + ",7"), "encoder.layers[1]: expected an object, found 7"),
        (
            with(#"{"name":"c0"}"#),
            "encoder.layers[0].op: missing; expected \(operators)"
        ),
        (
            with(#"{"op":"convolution","name":"c0"}"#),
            #"encoder.layers[0].op: expected \#(operators), found "convolution""#
        ),
        (with(#"{"op":"conv","name":"c0","kernel":3}"#), "encoder.layers[0].out: missing; expected an integer"),
        (
            with(#"{"op":"conv","name":"c0","out":4}"#),
            "encoder.layers[0].kernel: missing; expected an integer, or a pair of them"
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":[3,3,3]}"#),
            "encoder.layers[0].kernel: expected an integer, or a pair of them, found 3 entries"
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":3,"stride":0}"#),
            "encoder.layers[0].stride: expected 1 to 4, found 0"
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":3,"stride":[1,5]}"#),
            "encoder.layers[0].stride[1]: expected 1 to 4, found 5"
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":12}"#),
            "encoder.layers[0].kernel: expected 1 to 11, found 12"
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":3,"padding":3}"#),
            "encoder.layers[0].padding: expected 0 to 2, found 3"
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":[3,1],"padding":[2,1]}"#),
            "encoder.layers[0].padding[1]: expected 0 to 0, found 1"
        ),
        (
            with(conv + #",{"op":"maxpool","kernel":3,"padding":2}"#),
            "encoder.layers[1].padding: expected 0 to 1, found 2"
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":9}"#),
            "encoder.layers[0].kernel: expected at most (8, 8), the size of the map and its padding, found (9, 9)"
        ),
        (
            with(#"{"op":"conv","name":"c0","out":65537,"kernel":1}"#),
            "encoder.layers[0].out: expected 1 to 65536, found 65537"
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":3,"bias":0}"#),
            "encoder.layers[0].bias: expected true or false, found 0"
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":3,"norm":"group"}"#),
            #"encoder.layers[0].norm: expected "batch" or "layer", found "group""#
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":3,"norm_name":"n0"}"#),
            #"encoder.layers[0].norm_name: expected null, since there is no norm, found "n0""#
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":3,"activation":"gelu"}"#),
            #"encoder.layers[0].activation: expected "relu" or "sigmoid", found "gelu""#
        ),
        (
            with(#"{"op":"conv","name":"c0","out":4,"kernel":3,"dilation":2}"#),
            "encoder.layers[0].dilation: unknown key; conv has op, name, out, kernel, stride, padding, bias, norm, norm_name, activation"
        ),
        (
            with(conv + #",{"op":"conv","out":4,"kernel":3}"#),
            "encoder.layers[1].name: expected a name, since conv has parameters"
        ),
        (
            with(conv + #",{"op":"maxpool","kernel":2,"norm":"batch"}"#),
            "encoder.layers[1].name: expected a name, or a norm_name, since the norm has parameters"
        ),
        (
            with(conv + #",{"op":"conv","name":"c0","out":4,"kernel":3}"#),
            #"encoder.layers[1].name: "c0" is the name of another layer or norm"#
        ),
        (
            with(conv + #",{"op":"conv","name":"c1","out":4,"kernel":3,"norm":"batch","norm_name":"c0"}"#),
            #"encoder.layers[1].norm_name: "c0" is the name of another layer or norm"#
        ),
        (
            with(conv + #",{"op":"flatten","name":"Flat"}"#),
            #"encoder.layers[1].name: expected letters, a number and perhaps a suffix, as in c0 or c0_norm, found "Flat""#
        ),
        (
            with(conv + #",{"op":"dropout","dropout":1}"#),
            "encoder.layers[1].dropout: expected 0 or more and below 1, found 1.0"
        ),
        (
            with(conv + #",{"op":"linear","name":"l0","out":4}"#),
            "encoder.layers[1]: linear reads a vector: expected flatten before it, found a map of (4, 6, 6)"
        ),
        (
            with(conv + #",{"op":"flatten"},{"op":"maxpool","kernel":2}"#),
            "encoder.layers[2]: maxpool reads a map, found a vector of 144 numbers"
        ),
        (
            #"{"preset":"basic32","image":{"height":1024,"width":1024},"encoder":{"conv":null,"fc":null,"layers":["#
                + #"{"op":"conv","name":"c1","out":128,"kernel":1},{"op":"flatten"},{"op":"linear","name":"l0","out":1}]}}"#,
            "encoder.layers[0]: expected an output of at most 67108864 numbers, found 134217728"
        ),
    ]

    private static let residualFaults: [(String, String)] = [
        (
            with(conv + #",{"op":"residual","name":"r0","layers":[]}"#),
            "encoder.layers[1].layers: expected at least one layer, found none"
        ),
        (
            with(conv + #",{"op":"residual","layers":[{"op":"conv","name":"c0","out":4,"kernel":1}]}"#),
            #"encoder.layers[1].layers[0].name: "c0" is the name of another layer or norm"#
        ),
        (
            with(conv + #",{"op":"residual","name":"r0","layers":[{"op":"conv","name":"c0","out":5,"kernel":1}]}"#),
            "encoder.layers[1]: expected a sum of equal shapes, found a map of (5, 6, 6) "
                + "from the layers and a map of (4, 6, 6) from the identity"
        ),
        (
            with(
                conv
                    + #",{"op":"residual","name":"r0","layers":[\#(conv)],"shortcut":{"op":"conv","name":"s0","out":4,"kernel":1}}"#
            ),
            "encoder.layers[1]: expected a sum of equal shapes, found a map of (4, 4, 4) "
                + "from the layers and a map of (4, 6, 6) from the shortcut"
        ),
        (
            with(
                conv
                    + #",{"op":"residual","name":"r0","layers":[\#(conv)],"shortcut":{"op":"conv","name":"c1","out":4,"kernel":3}}"#
            ),
            #"encoder.layers[1].shortcut.name: expected "s0", found "c1""#
        ),
        (
            with(
                conv
                    + #",{"op":"residual","name":"r0","layers":[\#(conv)],"shortcut":{"op":"maxpool","name":"s0","kernel":3,"stride":1}}"#
            ),
            #"encoder.layers[1].shortcut.op: expected "conv", found "maxpool""#
        ),
    ]

    private static let headFaults: [(String, String)] = [
        (with(conv, #","local":{}"#), #"local.score: missing; expected "dot" or "concat""#),
        (with(conv, #","local":{"score":"dot"}"#), "local.units: missing; expected an integer"),
        (with(conv, #","local":{"score":"dot","units":0}"#), "local.units: expected 1 to 65536, found 0"),
        (
            with(conv, #","local":{"score":"dot","units":4,"net":"copy"}"#),
            #"local.net: expected "light" or "authors", found "copy", which is for global heads"#
        ),
        (
            with(conv, #","local":{"score":"dot","units":4,"hidden":[]}"#),
            "local.hidden: unknown key; a dot head has score, net, units"
        ),
        (
            with(conv, #","local":{"score":"concat"}"#),
            "local.hidden: missing; expected sizes of the hidden layers, as in [512, 512]"
        ),
        (with(conv, #","local":{"score":"concat","hidden":[4,0]}"#), "local.hidden[1]: expected 1 to 65536, found 0"),
        (
            with(
                conv,
                #","global":{"score":"concat","hidden":[4],"layers":[{"op":"conv","name":"l1","out":1,"kernel":1}]}"#),
            #"global.layers[0].name: "l1" is the name of another layer or norm"#
        ),
        (
            with(
                conv,
                #","global":{"score":"concat","hidden":[4],"layers":[{"op":"conv","name":"c0","out":1,"kernel":7}]}"#),
            "global.layers[0].kernel: expected at most (6, 6), the size of the map and its padding, found (7, 7)"
        ),
        (
            #"{"preset":"basic32","encoder":{"conv":null},"global":{"score":"dot","units":4,"input":"conv"}}"#,
            #"global.input: expected "features", since encoder.conv is null, found "conv""#
        ),
        (
            with(
                conv + #",{"op":"conv","name":"y0","out":4,"kernel":3}"#,
                #","global":{"score":"dot","units":4,"net":"copy"}"#),
            #"global.net: expected a net other than "copy": a layer of the encoder has the name "y0""#
        ),
    ]

    private static let otherFaults: [(String, String)] = [
        (with(conv, #","prior":{}"#), "prior.hidden: missing; expected sizes of the hidden layers, as in [512, 512]"),
        (
            with(conv, #","prior":{"hidden":[],"squash":"tanh"}"#),
            #"prior.squash: expected "none" or "sigmoid", found "tanh""#
        ),
        (
            with(conv, #","coordinates":{"hidden":7}"#),
            "coordinates.hidden: expected sizes of the hidden layers, as in [512, 512], found 7"
        ),
        (with(conv, #","classifier":{"hidden":[]}"#), "classifier.classes: missing; expected an integer"),
        (with(conv, #","classifier":{"hidden":[],"classes":1}"#), "classifier.classes: expected 2 to 65536, found 1"),
        (
            with(conv, #","classifier":{"hidden":[],"classes":65537}"#),
            "classifier.classes: expected 2 to 65536, found 65537"
        ),
        (
            with(conv, #","classifier":{"hidden":[],"classes":2,"output_norm":"layer"}"#),
            #"classifier.output_norm: expected "batch" or null, found "layer""#
        ),
        (
            #"{"preset":"notebook","classifier":{"hidden":[9]}}"#,
            "classifier.names: expected 2 entries, one for each hidden layer and one for the last, found 3; null gives l0, l1, ..."
        ),
        (
            with(conv, #","classifier":{"hidden":[2],"classes":2,"names":[["a0"],["b0"]]}"#),
            "classifier.names[0]: expected the layer's name and its norm's, found 1 names"
        ),
        (
            with(conv, #","classifier":{"hidden":[2],"classes":2,"names":[["a0","a1"],["a0"]]}"#),
            #"classifier.names[1][0]: "a0" is the name of another layer or norm"#
        ),
        (
            #"{"preset":"basic32","prior":{"hidden":[65536,65536]}}"#,
            "expected at most 268435456 parameters in all networks, found 4305022211: encoder 4924224, local_d 723968, "
                + "prior_d 4299358209, classifier 15810"
        ),
    ]

    private static let all: [(String, String)] =
        wholeFaults + imageFaults + encoderFaults + layerFaults + residualFaults + headFaults + otherFaults

    @Test(arguments: all)
    func oneFault(text: String, fault: String) {
        #expect(faults(text) == [fault], "\(text)")
    }

    @Test func allAtOnce() {
        let text = """
            {"version":3,"colour":1,"image":{"channels":3,"height":8,"width":8,"std":0},"encoder":{"layers":[
            {"op":"conv","name":"c0","out":4,"kernel":3,"stride":0},
            {"op":"conv","name":"c0","out":4,"kernel":3},
            {"op":"flatten"},{"op":"linear","name":"l0","out":0}],"features":"c9"},
            "local":{"score":"dot","units":-1},"prior":{"hidden":[1.5]}}
            """
        #expect(
            faults(text) == [
                "colour: unknown key; a description has version, preset, image, encoder, local, global, prior, classifier, coordinates",
                "version: expected 1, found 3",
                "prior.hidden[0]: expected an integer, found 1.5",
                "image.std: expected 1e-6 to 1e6, found 0.0",
                "encoder.layers[0].stride: expected 1 to 4, found 0",
                #"encoder.layers[1].name: "c0" is the name of another layer or norm"#,
                "encoder.layers[3].out: expected 1 to 65536, found 0",
                #"encoder.features: no layer of the encoder has the name "c9"; there are "c0", "c0""#,
                "local.units: expected 1 to 65536, found -1",
            ])
        do {
            _ = try Architecture.parse(text)
        } catch {
            #expect("\(error)".hasPrefix("9 faults:\n  colour: unknown key"))
        }
    }

    @Test func theMessageStaysShort() throws {
        let text = #"{"preset":"basic32","# + (0..<3000).map { #""k\#($0)":0"# }.joined(separator: ",") + "}"
        let error = #expect(throws: ArchitectureError.self) { try Architecture.parse(text) }
        #expect(error?.count == 3000)
        #expect(error?.faults.count == 40)
        #expect(error?.description.hasSuffix("\n  ... and 2960 more") == true)
        let name = String(repeating: "\u{7}é", count: 5000)
        let found = faults(#"{"preset":"basic32","\#(name.replacing("\u{7}", with: "\\u0007"))":0}"#)
        #expect(found.count == 1 && found[0].utf8.count < 300)
        #expect(found[0].utf8.allSatisfy { (32..<127).contains($0) })
    }
}
