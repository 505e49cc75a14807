{# Messages as `transformations.yaml` puts them right: wherever a raw table is read, so that what has landed long ago is
   transformed too, and the raw row stays as it is. A message is transformed by the first entry that is of it. #}

{# The transformations that `revetl protocols compile` wrote into the project; without it, none. #}
{% macro transformations() -%}
    {% set found = adapter.dispatch('transformations', 'revetl')() -%}
    {% if found.form != 1 -%}
        {% do exceptions.raise_compiler_error(
            'transformations.sql was written by another version of revetl. Run `revetl protocols compile`.') -%}
    {% endif -%}
    {{ return(found) }}
{%- endmacro %}

{# Tells what is done to documents from what was: empty where nothing is. #}
{% macro rewriting_hash() -%}
    {% set plan, shapes = revetl.tracking_plan(), [] -%}
    {% for document in plan.documents if document.level == 0 -%}
        {% set shape = revetl.planned_shape(plan, document, 'omit') -%}
        {% if shape -%}
            {% do shapes.append([document.type, document.event, shape]
                + document.closed | map(attribute='action') | select('mapping') | list) -%}
        {% endif -%}
    {% endfor -%}
    {{ return(revetl.transformations().hash ~ (local_md5(tojson(shapes, sort_keys=true)) if shapes else '')) }}
{%- endmacro %}

{# Tells what staging leaves out and rewrites from what it did: empty where it does nothing. #}
{% macro staging_hash() -%}
    {% set plan, found = revetl.tracking_plan(), [] -%}
    {% for type in ['track', 'identify', 'group', 'page', 'screen'] if revetl.plan_blocks(plan, type) -%}
        {% do found.append(type) -%}
    {% endfor -%}
    {{ return(revetl.rewriting_hash() ~ (local_md5(tojson(plan, sort_keys=true)) if found else '')) }}
{%- endmacro %}

{# A raw column of a type's messages as it is after the transformations. The sample's documents are texts, and it names
   no sources. #}
{% macro transformed(type, column, is_sample=false, transformations=none) -%}
    {% set cases = [] -%}
    {% set documents = ['properties', 'traits'] -%}
    {% set value = revetl.as_json(column) if is_sample and column in documents + ['context'] else column -%}
    {% for entry in (transformations or revetl.transformations()).entries
        if entry.type == type and (entry.source is none or not is_sample) -%}
        {% set conditions = [] -%}
        {% if entry.events -%}
            {% do conditions.append('event_text in (' ~ revetl.text_literals(entry.events) ~ ')') -%}
        {% endif -%}
        {% if entry.source is not none -%}
            {% do conditions.append('source_id = ' ~ revetl.text_literal(entry.source)) -%}
        {% endif -%}
        {% set made = namespace(sql=value) -%}
        {% if column in documents -%}
            {% set made.sql = revetl.transformed_document(entry, value) -%}
        {% elif column in ['event', 'event_text'] and entry[column] is not none -%}
            {% set made.sql = revetl.text_literal(entry[column]) -%}
        {% endif -%}
        {% do cases.append({'when': conditions | join(' and ') or '1 = 1', 'then': made.sql}) -%}
    {% endfor -%}
    {% if not cases | rejectattr('then', 'equalto', value) | list -%}
        {{ return(value) }}
    {% endif -%}
    {% set whens = [] -%}
    {% for case in cases -%}
        {% do whens.append('when ' ~ case.when ~ ' then ' ~ case.then) -%}
    {% endfor -%}
    {{ return('case ' ~ whens | join(' ') ~ ' else ' ~ value ~ ' end') }}
{%- endmacro %}

{# The same in a select, under its own name. #}
{% macro transformed_column(type, column, is_sample=false) -%}
    {% set made = revetl.transformed(type, column, is_sample) -%}
    {{ made }}{{ ' as ' ~ column if made != column }}
{%- endmacro %}

{# A document of a message by an entry: renamed and cast values in their places, without what is dropped, and with what is
   derived. #}
{% macro transformed_document(entry, content) -%}
    {% set document, shape = revetl.json_document(content), {} -%}
    {% for value in entry['values'] -%}
        {% for path in value['from'] -%}
            {% do revetl.shape_at(shape, path[:-1]).setdefault('without', []).append(path[-1]) -%}
        {% endfor -%}
        {% if value.path not in entry.dropped -%}
            {% do revetl.shape_at(shape, value.path[:-1]).setdefault('added', []).append(
                [value.path[-1], revetl.transformed_text(document, value)]) -%}
        {% endif -%}
    {% endfor -%}
    {% for path in entry.dropped -%}
        {% do revetl.shape_at(shape, path[:-1]).setdefault('without', []).append(path[-1]) -%}
    {% endfor -%}
    {% for derived in entry.derived -%}
        {% do shape.setdefault('without', []).append(derived.name) -%}
        {% do shape.setdefault('added', []).append([derived.name, revetl.derived_text(document, derived)]) -%}
    {% endfor -%}
    {{ return(revetl.as_json(revetl.json_rewritten(document, shape)) if shape else content) }}
{%- endmacro %}

{# A value of a document as JSON text, from the first of the places where it may be, and cast. #}
{% macro transformed_text(document, value) -%}
    {% set texts = [] -%}
    {% for path in value['from'] -%}
        {% do texts.append(revetl.json_value_text(document, path)) -%}
    {% endfor -%}
    {% set text = texts[0] if texts | length == 1 else 'coalesce(' ~ texts | join(', ') ~ ')' -%}
    {{ return(revetl.cast_text(text, value.cast) if value.cast else text) }}
{%- endmacro %}

{# A JSON text as another type, where it can be one; else as it is. #}
{% macro cast_text(text, type) -%}
    {% set word = revetl.trimmed(revetl.text_of_json(text)) -%}
    {% if type == 'string' -%}
        {{ return('case when ' ~ revetl.is_json(text, 'number') ~ ' or ' ~ revetl.is_json(text, 'boolean') ~ ' then '
            ~ dbt.concat(["'\"'", text, "'\"'"]) ~ ' else ' ~ text ~ ' end') }}
    {% elif type == 'boolean' -%}
        {{ return('case when lower(' ~ word ~ ") in ('true', '1') then 'true' when lower(" ~ word
            ~ ") in ('false', '0') then 'false' else " ~ text ~ ' end') }}
    {% endif -%}
    {% set pattern = '^-?(0|[1-9][0-9]*)([.]0+)?$' if type == 'integer' else '^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?$' -%}
    {{ return('case when ' ~ revetl.matches(word, pattern) ~ ' then '
        ~ (revetl.replace_matches(word, '[.]0+$', '') if type == 'integer' else word) ~ ' else ' ~ text ~ ' end') }}
{%- endmacro %}

{# What a JSON text says: of a string its characters, of a number or boolean the text; null of anything else. #}
{% macro text_of_json(text) -%}
    {{ return('coalesce(' ~ revetl.json_string(text) ~ ', case when left(' ~ text ~ ", 1) not in ('{', '[', 'n', '\"') then "
        ~ text ~ ' end)') }}
{%- endmacro %}

{# What SQL over the properties gives, as JSON text; null where it gives nothing. #}
{% macro derived_text(document, derived) -%}
    {% set made = namespace(sql=derived.sql['fabric' if target.type == 'synapse' else target.type]) -%}
    {% for read in derived.reads -%}
        {# What is read as a type needs no cast before. #}
        {% set word = revetl.trimmed(revetl.text_of_json(revetl.transformed_text(document, {'from': read['from']}))) -%}
        {% set value = revetl.decimal_of(word) if read.type == 'number'
            else 'case when lower(' ~ word ~ ") in ('true', '1') then true when lower(" ~ word
                ~ ") in ('false', '0') then false end" if read.type == 'boolean'
            else word -%}
        {% set made.sql = made.sql | replace('__read_' ~ loop.index0 ~ '__', '(' ~ value ~ ')') -%}
    {% endfor -%}
    {% if derived.type == 'boolean' -%}
        {{ return('case when ' ~ made.sql ~ " then 'true' when not (" ~ made.sql ~ ") then 'false' end") }}
    {% elif derived.type == 'string' -%}
        {{ return('case when ' ~ made.sql ~ ' is not null then ' ~ revetl.json_quoted(made.sql) ~ ' end') }}
    {% endif -%}
    {% set text = 'cast(' ~ made.sql ~ ' as ' ~ revetl.type_of('varchar') ~ ')' -%}
    {% set short = revetl.replace_matches(revetl.replace_matches(text, '([.][0-9]*[1-9])0+$', '\\1'), '[.]0+$', '') -%}
    {{ return('case when ' ~ revetl.matches(text, '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$') ~ ' then ' ~ short ~ ' end') }}
{%- endmacro %}
