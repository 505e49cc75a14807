{# Experiments: audiences with a `split`, and syncs with a `holdout`. #}

{# The variant of a key, as a column of an audience: by `split` and `salt` of its meta.revetl. #}
{% macro variant(column) -%}
    {% set audience = model.config.meta.get('revetl', {}) if execute else {} -%}
    {% set split = audience.get('split', {'control': 100}) if execute else {'control': 100} -%}
    {{ revetl.variant_of(column, split, audience.get('salt', model.name)) }}
{%- endmacro %}

{# The variant of a key: the shares of 10,000 buckets in the order of `split`, control first. #}
{% macro variant_of(column, split, salt) -%}
    {% set bucket = revetl.bucket(dbt.concat([revetl.text_literal(salt ~ ':'), 'cast(' ~ column ~ ' as '
        ~ revetl.type_of('varchar') ~ ')']), 10000) -%}
    case
        {%- for arm in revetl.arms(split) %}
        {{ 'else ' ~ revetl.text_literal(arm.name) if loop.last else
            'when ' ~ bucket ~ ' < ' ~ arm.edge ~ ' then ' ~ revetl.text_literal(arm.name) }}
        {%- endfor %}
    end
{%- endmacro %}

{# The arms of a split, control first: name, share, and the bucket before which it ends. #}
{% macro arms(split) %}
    {% set total = split.values() | sum %}
    {% set names = (['control'] if 'control' in split else []) + split | reject('equalto', 'control') | list %}
    {% set arms = [] %}
    {% set end = namespace(share=0) %}
    {% for name in names %}
        {% set end.share = end.share + split[name] %}
        {% do arms.append({'name': name, 'share': split[name] / total, 'edge': (end.share * 10000 / total) | round | int}) %}
    {% endfor %}
    {{ return(arms) }}
{% endmacro %}

{# All experiments of the project: name (the audience, or the sync that holds out), audience, key, salt, split, goal,
   syncs. #}
{% macro experiments() %}
    {% set found = [] %}
    {% for node in (graph.get('nodes', {}).values() if execute else []) if node.resource_type == 'model' and node.config.meta.get('revetl') is mapping %}
        {% set audience = node.config.meta.revetl %}
        {% set declared = audience.get('sync', []) %}
        {% set syncs = [declared] if declared is mapping else declared %}
        {% set goal = audience.get('goal') %}
        {% set common = {'audience': node.name, 'key': audience.key, 'goal': {'event': goal} if goal is string else goal} %}
        {% if audience.get('split') %}
            {% set names = [] %}
            {% for sync in syncs %}
                {% do names.append(node.name ~ '.' ~ sync.to) %}
            {% endfor %}
            {% do found.append(dict(common, name=node.name, salt=audience.get('salt', node.name), split=audience.split, syncs=names)) %}
        {% endif %}
        {% for sync in syncs if sync.get('holdout') is not none %}
            {% set share = revetl.share_of(sync.holdout) %}
            {% do found.append(dict(common, name=node.name ~ '.' ~ sync.to, salt=sync.get('salt', node.name),
                split={'control': share, 'treated': 1 - share}, syncs=[node.name ~ '.' ~ sync.to])) %}
        {% endfor %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{# `10%` or 0.1 as a number. #}
{% macro share_of(given) %}
    {% set text = given | string | trim %}
    {{ return((text.rstrip('%') | float) / (100 if text.endswith('%') else 1)) }}
{% endmacro %}

{# The value of chi-squared that is passed by chance once in a thousand times. #}
{% macro chi_squared(degrees_of_freedom) %}
    {% set values = [10.828, 13.816, 16.266, 18.467, 20.515, 22.458, 24.322, 26.124, 27.877] %}
    {{ return(values[degrees_of_freedom - 1]) }}
{% endmacro %}

{# `14 days` as seconds: of minutes, hours, days and weeks. #}
{% macro span_seconds(span) %}
    {% set number, unit = (span | string).split() %}
    {{ return(((number | float) * {'minute': 60, 'hour': 3600, 'day': 86400, 'week': 604800}[unit.rstrip('s')]) | int) }}
{% endmacro %}

{# Warn of each split that has no goal, when a build measures it. #}
{% macro warn_of_missing_goals(experiments) -%}
    {% for experiment in experiments
        if execute and flags.WHICH in ['run', 'build'] and experiment.name == experiment.audience and not experiment.goal %}
        {%- do exceptions.warn(experiment.name ~ ': without a goal, revetl_experiment_lift has no lift for it. Add '
            ~ 'goal: {event: NAME, within: TIME} to its meta.revetl.') -%}
    {% endfor %}
{%- endmacro %}
