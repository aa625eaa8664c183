import MQTTCore
import MQTTPackets
import NIOCore
import Testing

/// What only holds of the core where the edge makes a mistake.
@Suite struct HookCoreTests {
    @Test("a PUBLISH that nobody has looked at is not handled, and ends its connection")
    func notLookedAt() throws {
        var configuration = CoreConfiguration()
        configuration.asks = .connect
        var core = BrokerCore(configuration: configuration)
        let opened = core.open(loop: 0, address: "a", at: 1)
        let id = try #require(opened)
        let connect = PacketEncoder(version: .v5).encode(.connect(Connect(version: .v5, clientID: "c")))
        let asked = core.receive(connect, looked: 0, [], from: id, at: 1)
        #expect(asked.consumed == 0)
        #expect(asked.next == .ask)
        let question = core.question(of: id)
        guard case .connect(let answer)? = question else {
            Issue.record("no question")
            return
        }
        core.answer(.connect(answer), to: id, at: 2)
        let handled = core.receive(connect, looked: connect.readableBytes, [], from: id, at: 2)
        #expect(handled.consumed == connect.readableBytes)
        #expect(handled.next == .read)
        let publish = Publish(topic: "t", payload: ByteBuffer(string: "m"))
        let bytes = PacketEncoder(version: .v5).encode(.publish(publish))
        _ = core.receive(bytes, looked: bytes.readableBytes, [], from: id, at: 3)
        var statistics = core.currentStatistics
        #expect(statistics.publishReceived == 1)
        let refused = core.receive(bytes, looked: 0, [], from: id, at: 4)
        #expect(refused.next == .ignore)
        statistics = core.currentStatistics
        #expect(statistics.publishReceived == 1)
    }

    @Test("an answer that comes when the connection has ended is nobody's")
    func late() throws {
        var configuration = CoreConfiguration()
        configuration.asks = .connect
        var core = BrokerCore(configuration: configuration)
        let opened = core.open(loop: 0, address: "a", at: 1)
        let id = try #require(opened)
        let connect = PacketEncoder(version: .v5).encode(.connect(Connect(version: .v5, clientID: "c")))
        _ = core.receive(connect, looked: 0, [], from: id, at: 1)
        let question = core.question(of: id)
        guard case .connect(let answer)? = question else {
            Issue.record("no question")
            return
        }
        core.closed(id, .closed, at: 2)
        let reopened = core.open(loop: 0, address: "b", at: 2)
        let next = try #require(reopened)
        #expect(next.slot == id.slot)
        core.answer(.connect(answer), to: id, at: 3)
        let isAsking = core.question(of: next) != nil
        #expect(!isAsking)
        _ = core.takeOutput(loop: 0)
        #expect(core.sessionCount == 0)
        let disagreements = core.disagreements
        #expect(disagreements == [])
    }
}
