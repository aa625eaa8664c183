import MQTTPackets
import MQTTSessions
import Testing

@Suite struct OutboundQueueTests {
    /// Sends all that may go; the numbers in the order they went, releases as their complement.
    private func pump(_ queue: inout OutboundQueue, quota: Int = 100, committed: UInt64 = .max) -> [Int] {
        var sent: [Int] = []
        while true {
            switch queue.nextStep(quota: quota, committed: committed) {
            case .nothing, .mark: return sent
            case .publish(let number):
                sent.append(Int(number))
                queue.published()
            case .release(let number):
                sent.append(~Int(number))
                queue.released()
            }
        }
    }

    @Test("[MQTT-2.2.1-3] the packet identifier is the number modulo 65,535, plus one: never 0")
    func identifiers() {
        #expect(OutboundQueue.packetID(0) == 1)
        #expect(OutboundQueue.packetID(65_534) == 65_535)
        #expect(OutboundQueue.packetID(65_535) == 1)
        #expect(OutboundQueue.packetID(65_535 * 1_000_003 + 7) == 8)
    }

    @Test(
        "an identifier leads back to the number in flight, wherever the queue stands",
        arguments: [0, 65_500, 1 << 40]
    )
    func numbers(first: UInt64) {
        var queue = OutboundQueue(firstNumber: first)
        for _ in 0..<100 { queue.add() }
        _ = pump(&queue, quota: 60)
        for number in first..<(first + 60) { #expect(queue.number(of: OutboundQueue.packetID(number)) == number) }
        #expect(queue.number(of: OutboundQueue.packetID(first + 60)) == nil)
        #expect(queue.number(of: OutboundQueue.packetID(first + 65_534)) == nil)
    }

    @Test("no more than the quota is in flight, and an end makes room for one")
    func quota() {
        var queue = OutboundQueue()
        for _ in 0..<5 { queue.add() }
        #expect(pump(&queue, quota: 2) == [0, 1])
        #expect(queue.inFlight == 2)
        #expect(queue.queued == 3)
        queue.finish(1)
        #expect(pump(&queue, quota: 2) == [2])
        queue.finish(0)
        queue.finish(2)
        #expect(pump(&queue, quota: 2) == [3, 4])
        #expect(queue.first == 3)
    }

    @Test("[MQTT-4.9.0-2] PUBREC leaves the message in flight, and PUBCOMP makes room")
    func quotaOfExactlyOnce() {
        var queue = OutboundQueue()
        for _ in 0..<2 { queue.add(qos: .exactlyOnce) }
        #expect(pump(&queue, quota: 1) == [0])
        queue.received(0)
        #expect(pump(&queue, quota: 1) == [])
        queue.finish(0)
        #expect(pump(&queue, quota: 1) == [1])
    }

    @Test("a message waits for the commit of its ticket, and those behind it wait with it")
    func tickets() {
        var queue = OutboundQueue()
        queue.add()
        queue.add(qos: .exactlyOnce, ticket: 5)
        queue.add()
        #expect(pump(&queue, committed: 4) == [0])
        #expect(pump(&queue, committed: 5) == [1, 2])
    }

    @Test("sending stops before an identifier could be used again while the one before is unfinished")
    func wrapAround() {
        var queue = OutboundQueue(firstNumber: 65_000)
        for _ in 0..<70_000 { queue.add() }
        // All are answered at once but the oldest.
        for number in UInt64(65_000)..<(65_000 + 65_535) {
            #expect(queue.nextStep(quota: 10, committed: .max) == .publish(number))
            queue.published()
            if number > 65_000 { queue.finish(number) }
        }
        #expect(queue.inFlight == 1)
        #expect(queue.nextStep(quota: 10, committed: .max) == .nothing)
        #expect(queue.number(of: OutboundQueue.packetID(65_000)) == 65_000)
        queue.finish(65_000)
        #expect(queue.first == 65_000 + 65_535)
        #expect(queue.nextStep(quota: 10, committed: .max) == .publish(65_000 + 65_535))
    }

    @Test(
        "[MQTT-4.4.0-1] [MQTT-4.6.0-1] a new connection is sent all that is unfinished again, in order"
    )
    func redelivery() {
        var queue = OutboundQueue()
        for at in 0..<7 { queue.add(qos: at == 2 ? .atLeastOnce : .exactlyOnce) }
        #expect(pump(&queue, quota: 6) == [0, 1, 2, 3, 4, 5])
        queue.received(1)
        queue.received(4)
        queue.finish(3)
        queue.finish(5)
        queue.connectionEnded()
        #expect(queue.inFlight == 0)
        #expect((0..<7).map(queue.isUnfinished) == [true, true, true, false, true, false, true])
        #expect([0, 1, 2, 4, 6].map { queue.head($0).isBegun } == [true, false, true, false, false])
        #expect(pump(&queue) == [0, ~1, 2, ~4, 6])
        #expect(queue.inFlight == 3)
        #expect(!queue[6].isBegun)
    }

    @Test("what was begun stays begun, also where the next connection did not come to send it again")
    func begunTwice() {
        var queue = OutboundQueue()
        for _ in 0..<3 { queue.add() }
        _ = pump(&queue)
        queue.connectionEnded()
        #expect(pump(&queue, quota: 1) == [0])
        queue.connectionEnded()
        #expect((0..<3).map { queue.head($0).isBegun } == [true, true, true])
        #expect(pump(&queue) == [0, 1, 2])
    }

    @Test("redeliveries go through the new connection's quota")
    func redeliveryQuota() {
        var queue = OutboundQueue()
        for _ in 0..<4 { queue.add() }
        _ = pump(&queue)
        queue.connectionEnded()
        #expect(pump(&queue, quota: 2) == [0, 1])
        queue.finish(0)
        #expect(pump(&queue, quota: 2) == [2])
    }

    @Test("a message that is over before its turn, dropped or expired, is passed over")
    func finishedInQueue() {
        var queue = OutboundQueue()
        for _ in 0..<4 { queue.add() }
        queue.finish(0)
        queue.finish(2)
        #expect(pump(&queue) == [1, 3])
        #expect(queue.inFlight == 2)
    }

    @Test("where the other end has forgotten the session publishes are new, and releases are over")
    func forgotten() {
        var queue = OutboundQueue()
        for _ in 0..<3 { queue.add(qos: .exactlyOnce) }
        _ = pump(&queue, quota: 2)
        queue.received(0)
        queue.connectionEnded()
        queue.sessionForgotten()
        #expect(pump(&queue) == [1, 2])
        #expect(!queue[1].isBegun)
    }

    @Test("the oldest message that was never sent makes room: what is in flight stays, and is found behind the gap")
    func droppedForRoom() {
        var queue = OutboundQueue(firstNumber: 65_530)
        for _ in 0..<10 { queue.add("abc") }
        #expect(pump(&queue, quota: 3) == [65_530, 65_531, 65_532])
        #expect(queue.dropOldest()?.number == 65_533)
        #expect(queue.dropOldest().map { [Int($0.number), $0.payloadBytes] } == [65_534, 3])
        #expect(queue.unfinished == 8)
        #expect(queue.queued == 5)
        queue.finish(65_531)
        #expect(pump(&queue, quota: 3) == [65_535])
        // Another gap behind what is in flight now.
        #expect(queue.dropOldest()?.number == 65_536)
        for number: UInt64 in [65_530, 65_532, 65_535] {
            #expect(queue.number(of: OutboundQueue.packetID(number)) == number)
        }
        for number: UInt64 in [65_533, 65_534, 65_536] {
            #expect(queue.number(of: OutboundQueue.packetID(number)) == nil)
        }
        queue.connectionEnded()
        #expect(pump(&queue) == [65_530, 65_532, 65_535, 65_537, 65_538, 65_539])
        for number: UInt64 in [65_530, 65_532, 65_535, 65_537, 65_538, 65_539] { queue.finish(number) }
        #expect(queue.isEmpty && queue.unfinished == 0 && queue.bytesHeld == 0 && queue.inFlightBytes == 0)
        #expect(queue.dropOldest() == nil)
    }

    @Test("a message that is taken back from the middle leaves at once, and one that was sent does not")
    func takenBack() {
        var queue = OutboundQueue()
        for _ in 0..<6 { queue.add("abc") }
        #expect(pump(&queue, quota: 2) == [0, 1])
        let bytes = queue.bytesHeld
        #expect([1, 4, 4].map { queue.removeUnsent($0) } == [false, true, false])
        #expect(queue.queued == 3 && queue.unfinished == 5)
        #expect(queue.bytesHeld == bytes * 5 / 6)
        queue.finish(1)
        queue.finish(0)
        #expect(pump(&queue, quota: 9) == [2, 3, 5])
        for number: UInt64 in [2, 3, 5] { queue.finish(number) }
        #expect(queue.isEmpty && queue.bytesHeld == 0 && queue.queued == 0)
    }

    @Test("no more bytes are in flight than allowed, but one message always may be")
    func bytesInFlight() {
        var queue = OutboundQueue()
        for _ in 0..<3 { queue.add(String(repeating: "x", count: 1_000)) }
        let one = queue[0].message?.bytesHeld ?? 0
        #expect(queue.nextStep(quota: 10, bytesMax: 1, committed: .max) == .publish(0))
        queue.published()
        #expect(queue.nextStep(quota: 10, bytesMax: 2 * one - 1, committed: .max) == .nothing)
        #expect(queue.nextStep(quota: 10, bytesMax: 2 * one, committed: .max) == .publish(1))
        queue.published()
        #expect(queue.inFlightBytes == 2 * one)
        queue.received(0)
        #expect(queue.inFlightBytes == one)
        queue.connectionEnded()
        #expect(queue.inFlightBytes == 0)
    }

    @Test(
        "whatever happens: identifiers in flight differ, the quota holds, order holds, and in the end nothing is held"
    )
    func randomLife() {
        withSeed { generator, seed in
            for first in [0, 65_530, UInt64(1) << 33] {
                var life = RandomLife(first: first, generator: SeededGenerator(seed: generator.next()))
                for step in 0..<3_000 {
                    if let failure = life.step() {
                        Issue.record("step \(step): \(failure), seed \(seed)")
                        return
                    }
                }
                #expect(life.isEmptyAfterAll() == true, "seed \(seed)")
            }
        }
    }
}

/// A queue, and what a receiver of its packets would hold against it.
private struct RandomLife {
    var queue: OutboundQueue
    var generator: SeededGenerator
    var inFlight: [UInt64: OutboundEntry.State] = [:]
    var quota = 5
    var lastSent: UInt64?
    /// By number.
    var tickets: [UInt64: UInt64] = [:]
    var committed: UInt64 = 0
    var isDropped: Set<UInt64> = []

    init(first: UInt64, generator: SeededGenerator) {
        queue = OutboundQueue(firstNumber: first)
        self.generator = generator
    }

    private mutating func integer(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &generator) }

    mutating func step() -> String? {
        switch integer(12) {
        case 11:
            let number = queue.first + UInt64(integer(max(1, Int(queue.end - queue.first))))
            if queue.removeUnsent(number) {
                if inFlight[number] != nil { return "\(number) is taken back in flight" }
                isDropped.insert(number)
            }
        case 10:
            if let dropped = queue.dropOldest() {
                if inFlight[dropped.number] != nil { return "\(dropped.number) is dropped in flight" }
                isDropped.insert(dropped.number)
            }
        case 0...2:
            let ticket = integer(3) == 0 ? committed + UInt64(integer(3)) : 0
            let qos = integer(2) == 0 ? QoS.atLeastOnce : .exactlyOnce
            // At QoS 1 a message does not wait for its own commit, but behind one of QoS 2.
            if qos == .exactlyOnce { tickets[queue.end] = ticket }
            queue.add(qos: qos, ticket: ticket)
        case 3...5: return send()
        case 6...8: answer()
        default:
            committed += 1
            if integer(20) == 0 {
                queue.connectionEnded()
                quota = 1 + integer(8)
                lastSent = nil
                inFlight = [:]
            }
        }
        return queue.inFlight <= quota ? nil : "over the quota"
    }

    private mutating func send() -> String? {
        let step = queue.nextStep(quota: quota, committed: committed)
        switch step {
        case .nothing, .mark: return nil
        case .publish(let number), .release(let number):
            if isDropped.contains(number) { return "\(number) is sent, and was dropped" }
            if let lastSent, number <= lastSent { return "\(number) after \(lastSent)" }
            if tickets[number] ?? 0 > committed { return "\(number) before its commit" }
            let id = OutboundQueue.packetID(number)
            if inFlight.keys.contains(where: { OutboundQueue.packetID($0) == id }) { return "\(id) is in flight" }
            lastSent = number
            let isPublish = step == .publish(number)
            inFlight[number] = isPublish ? .sent : .released
            if isPublish { queue.published() } else { queue.released() }
            return queue.number(of: id) == number ? nil : "\(id) does not lead back to \(number)"
        }
    }

    private mutating func answer() {
        guard let number = inFlight.keys.sorted().randomElement(using: &generator) else { return }
        if queue[number].qos == .exactlyOnce && inFlight[number] == .sent {
            queue.received(number)
            inFlight[number] = .released
        } else {
            queue.finish(number)
            inFlight[number] = nil
        }
    }

    mutating func isEmptyAfterAll() -> Bool {
        committed = .max
        while !queue.isEmpty {
            if send() != nil { return false }
            answer()
        }
        return queue.inFlight == 0 && queue.bytesHeld == 0 && queue.queued == 0 && queue.unfinished == 0
            && queue.inFlightBytes == 0 && inFlight.isEmpty
    }
}
