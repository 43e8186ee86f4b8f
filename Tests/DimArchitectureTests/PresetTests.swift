import DimArchitecture
import Testing

@Suite struct PresetTests {
    /// The notebook's state_dict, written down by hand from its classes.
    @Test func notebookHasTheNotebooksParameters() {
        var list: [String] = []
        func layer(_ name: String, _ shape: [Int]) {
            list += ["\(name).weight \(shape)", "\(name).bias [\(shape[0])]"]
        }
        func batchNorm(_ name: String, _ channels: Int) {
            list += ["weight", "bias", "running_mean", "running_var"].map { "\(name).\($0) [\(channels)]" }
            list.append("\(name).num_batches_tracked []")
        }
        layer("encoder.c0", [64, 3, 4, 4])
        layer("encoder.c1", [128, 64, 4, 4])
        layer("encoder.c2", [256, 128, 4, 4])
        layer("encoder.c3", [512, 256, 4, 4])
        layer("encoder.l1", [64, 512 * 20 * 20])
        batchNorm("encoder.b1", 128)
        batchNorm("encoder.b2", 256)
        batchNorm("encoder.b3", 512)
        layer("global_d.c0", [64, 128, 3, 3])
        layer("global_d.c1", [32, 64, 3, 3])
        layer("global_d.l0", [512, 32 * 22 * 22 + 64])
        layer("global_d.l1", [512, 512])
        layer("global_d.l2", [1, 512])
        layer("local_d.c0", [512, 192, 1, 1])
        layer("local_d.c1", [512, 512, 1, 1])
        layer("local_d.c2", [1, 512, 1, 1])
        layer("prior_d.l0", [1000, 64])
        layer("prior_d.l1", [200, 1000])
        layer("prior_d.l2", [1, 200])
        layer("classifier.l1", [15, 64])
        batchNorm("classifier.bn1", 15)
        layer("classifier.l2", [10, 15])
        batchNorm("classifier.bn2", 10)
        layer("classifier.l3", [10, 10])
        batchNorm("classifier.bn3", 10)
        #expect(Architecture.notebook.parameters.map { "\($0.name) \($0.shape)" } == list)
        #expect(Architecture.notebook.networks == [.encoder, .globalD, .localD, .priorD, .classifier])
    }

    /// The encoders' trainable parameters; the paper's table has them in millions.
    @Test(arguments: [
        ("notebook", 15_865_600), ("basic28", 6_696_960), ("basic32", 4_921_280), ("basic64", 11_213_760),
        ("alex64", 58_416_160), ("resnet19_32", 20_281_216),
    ])
    func encodersHaveThePapersSizes(name: String, count: Int) throws {
        let preset = try #require(Architecture.preset(name))
        let encoder = preset.parameters(of: .encoder).filter(\.isTrainable)
        #expect(encoder.reduce(0) { $0 + $1.count } == count)
    }

    @Test(arguments: [
        ("notebook", [128, 26, 26], [512, 20, 20], nil), ("basic28", [128, 7, 7], [128, 7, 7], 1024),
        ("basic32", [128, 8, 8], [256, 4, 4], 1024), ("basic64", [256, 8, 8], [512, 4, 4], 1024),
        ("alex64", [384, 15, 15], [192, 7, 7], 4096), ("resnet19_32", [512, 8, 8], [1024, 4, 4], 1024),
    ])
    func outputsHaveThePapersShapes(name: String, features: [Int], conv: [Int], fc: Int?) throws {
        let resolved = try #require(Architecture.preset(name)).resolved
        #expect(resolved.featuresShape == MapShape(channels: features[0], height: features[1], width: features[2]))
        #expect(resolved.convShape == MapShape(channels: conv[0], height: conv[1], width: conv[2]))
        #expect(resolved.fcSize == fc)
        #expect(resolved.encodedSize == 64)
    }

    @Test func unknownPresetsAreNil() {
        for name in ["", "Notebook", "basic32 ", "resnet19"] { #expect(Architecture.preset(name) == nil) }
    }
}
