import MQTTPackets
import MQTTSessions
import Testing

@Suite struct ReceiveWindowTests {
    @Test("a set of packet identifiers is a set")
    func packetIDSet() {
        withSeed { generator, seed in
            var ids = PacketIDSet()
            var model: Set<UInt16> = []
            for step in 0..<200_000 {
                // Few identifiers and all of them in turn, so that pages are both full and empty.
                let id = UInt16.random(in: step % 2 == 0 ? 0...300 : 0 ... .max, using: &generator)
                let isRight: Bool
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: isRight = ids.insert(id) == model.insert(id).inserted
                case 1: isRight = ids.remove(id) == (model.remove(id) != nil)
                default: isRight = ids.contains(id) == model.contains(id)
                }
                guard isRight, ids.count == model.count else {
                    Issue.record("step \(step), identifier \(id), seed \(seed)")
                    return
                }
            }
            let wrong = (0...UInt16.max).filter { ids.contains($0) != model.contains($0) }
            #expect(wrong.isEmpty, "seed \(seed)")
        }
    }

    @Test("the boundaries of pages and words are identifiers like others")
    func boundaries() {
        var ids = PacketIDSet()
        let some: [UInt16] = [0, 1, 63, 64, 1_023, 1_024, 32_767, 32_768, 65_534, 65_535]
        for id in some {
            #expect(ids.insert(id) == true)
            #expect(ids.insert(id) == false)
        }
        #expect((0...UInt16.max).filter { ids.contains($0) } == some)
        for id in some { #expect(ids.remove(id) == true) }
        #expect(ids.count == 0)
    }

    @Test("identifiers last across connections, and the count does not")
    func connections() {
        var window = ReceiveWindow()
        #expect(window.received(1) == true)
        window.receivedAtLeastOnce()
        #expect(window.unacknowledged == 2)
        window.connectionBegan()
        #expect(window.unacknowledged == 0)
        #expect(window.unreleased.contains(1))
        #expect(window.received(1) == false)
        #expect(window.unacknowledged == 1)
        #expect(window.received(1) == false)
        #expect(window.unacknowledged == 1)
        #expect(window.released(1) == true)
        #expect(window.unacknowledged == 0)
    }

    @Test("releasing what was received on an earlier connection does not count below nothing")
    func releaseOfEarlier() {
        var window = ReceiveWindow()
        #expect(window.received(1) == true)
        window.connectionBegan()
        #expect(window.released(1) == true)
        #expect(window.unacknowledged == 0)
        #expect(window.released(1) == false)
        #expect(window.unacknowledged == 0)
    }
}
