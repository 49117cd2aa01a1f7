"""Installs av_td3_ros, by colcon or by pip."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = 'av_td3_ros'
NODES = ('simulator', 'perception', 'policy', 'episode_manager', 'trainer')

setup(
    name=PACKAGE,
    version='0.1.0',
    package_dir={'': 'src'},
    packages=find_packages('src'),
    package_data={'av_td3_ros.report': ['page.html', 'page.css']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        (f'share/{PACKAGE}/launch', glob('launch/*.launch.py')),
        (f'share/{PACKAGE}/config', glob('config/*.*')),
        (f'share/{PACKAGE}/config/presets', glob('config/presets/*.yaml')),
        (f'share/{PACKAGE}/maps', glob('maps/*.xodr')),
    ],
    install_requires=['setuptools'],
    extras_require={
        'test': ['pytest', 'hypothesis'],
        # What an exported policy needs on a vehicle and rosdep has no key for everywhere.
        'deploy': ['onnxruntime', 'safetensors'],
        # The task alone, without ROS and without the learner.
        'gym': [
            'carla==0.9.16',
            'gymnasium',
            'networkx',
            'numpy',
            'opencv-python-headless',
            'panda3d==1.10.16',
            'pyyaml',
            'scipy',
        ],
    },
    zip_safe=True,
    maintainer='av_td3_ros maintainers',
    maintainer_email='maintainers@av-td3-ros.invalid',
    description='Trains and deploys an end-to-end visual driving policy (TD3) on CARLA',
    license='MIT',
    entry_points={
        'console_scripts': [
            'av-td3 = av_td3_ros.cli.main:main',
            'watch_node = av_td3_ros.nodes.watch_node:main',
            *(f'{node}_node = av_td3_ros.nodes.{node}_node:main' for node in NODES),
        ]
    },
)
