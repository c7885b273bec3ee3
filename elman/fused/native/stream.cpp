#include "stream.h"

#include "scan.h"

namespace elman {

void step(const Stream& stream, const std::array<float*, ARGUMENTS>& arguments) {
    for (int64_t k = 0; k < stream.port_count; ++k) {
        const Port& port = stream.ports[k];
        float* const at = arguments[port.argument] + port.offset;
        if (port.argument == BEFORE) stream.buffers[port.buffer].first = at;
        else stream.buffers[port.buffer].at = at;
    }
    scan<float>(*stream.run);
}

}  // namespace elman
