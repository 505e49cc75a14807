{# What the traits of messages read: sources to the names of their events (none: any) and the columns of
   `int_revetl__trait_events`, so that all of them cost one scan. #}
{% macro trait_reads() %}
    {% set sources = {} %}
    {% set columns = {} %}
    {% for of in ['profile', 'account'] %}
        {% for trait in revetl.traits(revetl.message_trait_types(), of) %}
            {% set known = sources.get(trait.source, []) %}
            {% do sources.update({trait.source: none if known is none or trait.events is none
                else (known + trait.events) | unique | sort}) %}
            {% for place in revetl.trait_places(trait) %}
                {% do columns.update({place.name: {'name': place.name, 'document': place.document, 'path': place.path,
                    'kind': place.kind}}) %}
            {% endfor %}
        {% endfor %}
    {% endfor %}
    {% set names = columns | sort %}
    {% set listed = [] %}
    {% for name in names %}
        {% do listed.append(columns[name]) %}
    {% endfor %}
    {{ return({'sources': sources, 'columns': listed}) }}
{% endmacro %}

{# The places that a trait reads: its value's, its conditions', its steps'. #}
{% macro trait_places(trait) %}
    {% set places = [trait.value] if trait.value else [] %}
    {% for condition in trait.conditions %}
        {% do places.append(condition.place) %}
    {% endfor %}
    {% for step in trait.steps %}
        {% for condition in step.conditions %}
            {% do places.append(condition.place) %}
        {% endfor %}
    {% endfor %}
    {{ return(places) }}
{% endmacro %}

{# Tells one way to read the messages from another, and one version of it from another. #}
{% macro trait_reads_hash() %}
    {{ return(local_md5('2 ' ~ tojson(revetl.trait_reads(), sort_keys=true) ~ revetl.rewriting_hash())) }}
{% endmacro %}

{# Tells what people's identify traits are made by from what they were. #}
{% macro profile_traits_hash() %}
    {{ return(local_md5(
        '1 ' ~ tojson(revetl.declared_traits('profile_traits'), sort_keys=true) ~ revetl.rewriting_hash())) }}
{% endmacro %}

{# Tells one set of traits from another. #}
{% macro traits_hash() %}
    {{ return(local_md5(
        '2 ' ~ tojson(revetl.traits(revetl.message_trait_types()), sort_keys=true) ~ revetl.rewriting_hash())) }}
{% endmacro %}

{# The rows of `int_revetl__trait_events` of one source, as a query over the relation of its messages and of `first_pairs` (source,
   message_id, node_id, timestamp). #}
{% macro read_for_traits(source, events, columns, messages, is_patch=false) %}
    {% set event = 'event_text' if source == 'track' else 'name' %}
    {% set documents = {} %}
    {% for column in columns if column.kind != 'array' %}
        {% do documents.setdefault(column.document, []).append(column.path) %}
    {% endfor %}
    {% for document in documents %}
        {% do documents.update({document: documents[document] | unique | list}) %}
    {% endfor %}
    select
        '{{ source }}' as source,
        messages.message_id,
        messages.node_id,
        messages.timestamp,
        messages.event,
        {%- for column in columns %}
        {%- set paths = documents[column.document] %}
        {%- if column.kind == 'array' %}
        messages.{{ column.name }},
        {%- else %}
        {%- set text = revetl.member_at('messages.' ~ column.document ~ '_members', paths, paths.index(column.path)) | trim %}
        {{ revetl.read_as(column.kind, text) }} as {{ column.name }},
        {%- endif %}
        {%- endfor %}
        '{{ revetl.trait_reads_hash() }}' as made_by
    from (
        select
            stored.message_id,
            first_pairs.node_id,
            first_pairs.timestamp,
            {%- for document, paths in documents.items() %}
            {{ revetl.members_of('stored.' ~ document, paths) }} as {{ document }}_members,
            {%- endfor %}
            {%- for column in columns if column.kind == 'array' %}
            {{ revetl.json_array('stored.' ~ column.document, column.path) }} as {{ column.name }},
            {%- endfor %}
            stored.{{ event }} as event
        from {{ messages }} as stored
        inner join first_pairs
            on
                stored.message_id = first_pairs.message_id
                {{ 'and stored.timestamp = first_pairs.timestamp' if is_patch }}
        where
            first_pairs.source = '{{ source }}'
            {%- if events is not none %}
            and stored.{{ event }} in (
                {%- for name in events %}
                {{ revetl.text_literal(name) }}{{ ',' if not loop.last }}
                {%- endfor %}
            )
            {%- endif %}
    ) as messages
{% endmacro %}

{# A text as a column of `int_revetl__trait_events` has it. An empty text says nothing. #}
{% macro read_as(kind, text) %}
    {% if kind == 'number' %}
        {{ return(revetl.decimal_of(text)) }}
    {% elif kind == 'time' %}
        {{ return(revetl.time_of(text)) }}
    {% endif %}
    {{ return("nullif(" ~ revetl.trimmed(text) ~ ", '')") }}
{% endmacro %}
