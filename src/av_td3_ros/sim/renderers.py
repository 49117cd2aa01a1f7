"""
Where Panda3D draws to: its software renderer, or a GPU by EGL without a screen.

The software renderer is the default: it is always there, its pictures are the same bits on every
run, and small pictures are done before a GPU has handed one back.
"""

from typing import Optional, Tuple

from panda3d.core import (
    FrameBufferProperties,
    GraphicsEngine,
    GraphicsOutput,
    GraphicsPipe,
    GraphicsPipeSelection,
    loadPrcFileData,
    WindowProperties,
)

SOFTWARE, GPU, AUTO = 'software', 'gpu', 'auto'
RENDERERS = (SOFTWARE, GPU, AUTO)
# Names of OpenGL renderers that run on the processor: slower than the software renderer.
NO_GPU = ('llvmpipe', 'softpipe', 'swrast', 'software rasterizer')

# Read when the first pipe is made, so it must be said at import.
# Without Panda3D's own main loop nobody would collect its states: they go with their last user.
loadPrcFileData(
    '',
    'load-display p3tinydisplay\nwindow-type offscreen\naudio-library-name null\n'
    'notify-level error\nnotify-level-egldisplay fatal\ngarbage-collect-states 0\n',
)


class CameraError(RuntimeError):
    """Rendering is not possible here."""


def open_buffer(
    engine: GraphicsEngine, renderer: str, width: int, height: int
) -> Tuple[GraphicsOutput, bool]:
    """
    Return a buffer to draw to, and whether it is the software renderer's.

    :param engine: that draws. :param renderer: one of ``RENDERERS``; auto takes a GPU where one is
        found. :param width: columns. :param height: rows.
    :raises CameraError: where it does not start.
    """
    if renderer not in RENDERERS:
        raise CameraError(f'renderer must be one of {", ".join(RENDERERS)}, got {renderer!r}')
    if renderer != SOFTWARE:
        buffer = _make(engine, 'eglGraphicsPipe', 'p3headlessgl', width, height)
        if buffer and renderer == AUTO and not _is_gpu(engine, buffer):
            engine.removeWindow(buffer)
            buffer = None
        if buffer:
            return buffer, False
        if renderer == GPU:
            raise CameraError(
                'a GPU must be reachable by EGL for renderer gpu, got no buffer from '
                "p3headlessgl; install the GPU's driver with libEGL, or take renderer software"
            )
    buffer = _make(engine, 'TinyOffscreenGraphicsPipe', 'p3tinydisplay', width, height)
    if not buffer:
        raise CameraError(
            'the software renderer p3tinydisplay must start, got none; reinstall panda3d'
        )
    return buffer, True


def _make(
    engine: GraphicsEngine, pipe_name: str, module: str, width: int, height: int
) -> Optional[GraphicsOutput]:
    pipe = GraphicsPipeSelection.getGlobalPtr().makePipe(pipe_name, module)
    if not pipe:
        return None
    properties = FrameBufferProperties()
    properties.setRgbaBits(8, 8, 8, 8)
    properties.setDepthBits(24)
    size = WindowProperties.size(width, height)
    return engine.makeOutput(pipe, 'camera', 0, properties, size, GraphicsPipe.BFRefuseWindow)


def _is_gpu(engine: GraphicsEngine, buffer: GraphicsOutput) -> bool:
    engine.openWindows()
    guardian = buffer.getGsg()
    name = guardian.getDriverRenderer().lower() if guardian else NO_GPU[0]
    return not any(other in name for other in NO_GPU)
