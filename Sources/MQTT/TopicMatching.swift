import MQTTPackets

/// A filter's bytes, to be matched against topic names (MQTT 5.0, section 4.7).
struct FilterBytes: Sendable {
    private let filter: [UInt8]

    /// Without `$share/group/`.
    init(_ parsed: ParsedFilter) { filter = parsed.filter }

    func matches(_ topic: Span<UInt8>) -> Bool {
        // [MQTT-4.7.2-1]
        if topic[0] == Topics.dollar && (filter[0] == Topics.singleLevel || filter[0] == Topics.multiLevel) {
            return false
        }
        var (f, t) = (0, 0)
        while f < filter.count {
            switch filter[f] {
            case Topics.multiLevel: return true
            case Topics.singleLevel:
                while t < topic.count && topic[t] != Topics.separator { t += 1 }
                f += 1
            default:
                guard t < topic.count, filter[f] == topic[t] else { return isParent(f, t, topic) }
                f += 1
                t += 1
            }
        }
        return t == topic.count
    }

    /// `a/#` matches `a` too: the filter stands before `/#`, and the topic is at its end.
    private func isParent(_ f: Int, _ t: Int, _ topic: Span<UInt8>) -> Bool {
        t == topic.count && filter.count - f == 2 && filter[f] == Topics.separator && filter[f + 1] == Topics.multiLevel
    }
}
