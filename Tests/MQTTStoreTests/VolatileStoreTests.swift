import MQTTStore
import MQTTStoreTesting
import Testing

@Suite struct VolatileStoreTests {
    @Test("a store that keeps nothing has nothing, whatever it is given", arguments: StoreConformance.cases)
    func conformance(_ conformance: StoreConformance.Case) async throws {
        try await conformance.run { VolatileStore() }
    }
}
