/// Work of the kinds that a broker does, in nothing but the standard library: hashing, comparing and copying bytes, a
/// look-up, allocations, reference counts. How long it takes says how fast the machine is at the moment.
final class Reference {
    private final class Message {
        let bytes: [UInt8]
        init(_ bytes: [UInt8]) { self.bytes = bytes }
    }

    private var messages: [Message] = []
    private var indexOfTopic: [[UInt8]: Int] = [:]
    private var output: [UInt8] = []
    private static let roundsAtOnce = 200

    init() {
        for number in 0..<256 {
            let topic = Array("sensors/\(number)/temperature".utf8)
            indexOfTopic[topic] = number
            messages.append(Message(topic))
        }
    }

    private func round(_ number: Int) {
        let topic = messages[number & 255].bytes
        guard let index = indexOfTopic[topic] else { fatalError("a topic is missing") }
        let message = Message(topic + topic)
        messages[index] = Message(Array(message.bytes[..<topic.count]))
        for byte in message.bytes { output.append(byte) }
        if output.count > 65_536 { output.removeAll(keepingCapacity: true) }
    }

    private func rounds() {
        for number in 0..<Self.roundsAtOnce { round(number) }
    }

    /// The median time of `work`, where a round takes a thousand.
    ///
    /// Both are timed in turns, each time close enough together to meet the machine in the same mood.
    func time(of work: () -> Void) -> Int {
        let clock = ContinuousClock()
        rounds()
        work()
        var times: [Double] = []
        let end = clock.now + .milliseconds(300)
        while clock.now < end || times.count < 21 {
            let reference = clock.measure { rounds() }
            times.append((clock.measure { work() }) / reference)
        }
        times.sort()
        return Int(times[times.count / 2] * Double(Self.roundsAtOnce) * 1_000)
    }
}
